"""The exact Euclidean distance transform of 2048 x 2048 masks against OpenCV's exact one and scipy's."""

from __future__ import annotations

import os

# Before TensorFlow: see roi_align.py.
try:
    import cv2
except ImportError:
    cv2 = None
try:
    import scipy.ndimage
except ImportError:
    scipy = None

import numpy as np
import tensorflow as tf

import kseg_ops
from benchmarks.bandwidth import moving
from benchmarks.harness import Row, Timer
from benchmarks.ops.connected_components import SIZE, masks

OPENCV = "cv2.distanceTransform (DIST_MASK_PRECISE)"
SCIPY = "scipy.ndimage.distance_transform_edt"


def _peers(mask: np.ndarray, sampling: tuple[float, float], signed: bool, return_indices: bool) -> dict:
    # Offsets along columns in between: written, read and rewritten, and read again.
    outputs = 4 + (8 if return_indices else 0)
    limit, move = moving((2 + 2 + 2) * mask.size + mask.size, (2 + 2 + outputs) * mask.size)
    peers = {limit: move}
    if cv2 is not None and sampling == (1, 1) and not return_indices:

        def opencv():
            distances = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            return (
                distances - cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) if signed else distances
            )

        peers[OPENCV] = opencv
    if scipy is not None and not signed:
        peers[SCIPY] = lambda: scipy.ndimage.distance_transform_edt(mask, sampling, return_indices=return_indices)
    return peers


def run(timer: Timer) -> list[Row]:
    """Times every mask; a peer's column is there only where it is installed."""
    if cv2 is not None:
        cv2.setNumThreads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    far = np.ones((SIZE, SIZE), np.uint8)
    far[SIZE // 3, SIZE // 4] = 0
    images = {**masks(), "one pixel of background": far}
    cases = [(name, (1, 1), False, False) for name in images]
    first = next(iter(images))
    cases += [(first, (2, 1), False, False), (first, (1, 1), True, False), (first, (1, 1), False, True)]
    rows = []
    for name, sampling, signed, return_indices in cases:
        tensor = tf.constant(images[name])
        graph = tf.function(
            lambda mask, options=(sampling, signed, return_indices): kseg_ops.distance_transform(mask, *options)
        )
        peers = _peers(images[name], sampling, signed, return_indices)
        bars = {peer: bar for peer, bar in ((OPENCV, 1.0), (SCIPY, 5.0)) if peer in peers}
        what = f"{', spacing 2 x 1' * (sampling != (1, 1))}{', signed' * signed}{', with indices' * return_indices}"
        title = f"distance_transform {SIZE}x{SIZE}{what}, {name}"
        rows.append(timer.compare(title, lambda tensor=tensor, graph=graph: graph(tensor), peers, bars=bars))
    return rows
