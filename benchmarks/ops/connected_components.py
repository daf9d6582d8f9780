"""Connected components of 2048 x 2048 masks against OpenCV and scipy: blobs, as segmentations have them, and noise."""

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

SIZE = 2048
OPENCV = "cv2.connectedComponents"
SCIPY = "scipy.ndimage.label"


def blobs(size: int, sigma: float) -> np.ndarray:
    """Thresholded smooth noise. Smoothed in the frequency domain, to need nothing but NumPy."""
    noise = np.fft.rfft2(np.random.default_rng(0).standard_normal((size, size)))
    y, x = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)
    smooth = np.fft.irfft2(noise * np.exp(-2 * (np.pi * sigma) ** 2 * (y**2 + x**2)), (size, size))
    return (smooth > 0).astype(np.uint8)


def masks() -> dict[str, np.ndarray]:
    random = np.random.default_rng(1).random((SIZE, SIZE))
    return {
        "blobs of about 30 pixels": blobs(SIZE, 8),
        "blobs of about 100 pixels": blobs(SIZE, 24),
        "random noise, half set": (random < 0.5).astype(np.uint8),
    }


def run(timer: Timer) -> list[Row]:
    """Times every mask; a peer's column is there only where it is installed."""
    if cv2 is not None:
        cv2.setNumThreads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    label = tf.function(lambda mask: kseg_ops.connected_components(mask, connectivity=8))
    rows = []
    for name, mask in masks().items():
        tensor = tf.constant(mask)
        limit, move = moving(mask.nbytes, 4 * mask.size)
        peers = {limit: move}
        if cv2 is not None:
            peers[OPENCV] = lambda mask=mask: cv2.connectedComponents(mask, connectivity=8, ltype=cv2.CV_32S)
        if scipy is not None:
            peers[SCIPY] = lambda mask=mask: scipy.ndimage.label(mask, np.ones((3, 3)))
        # The promise is about images; noise shows the worst.
        bars = {peer: bar for peer, bar in ((OPENCV, 0.5), (SCIPY, 3.0)) if peer in peers and "blobs" in name}
        title = f"connected_components {SIZE}x{SIZE}, 8 neighbours, {name}"
        rows.append(timer.compare(title, lambda tensor=tensor: label(tensor), peers, bars=bars))
    return rows
