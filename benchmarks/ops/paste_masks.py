"""Pasting masks into an image, against torchvision."""

from __future__ import annotations

import os
from collections.abc import Callable

# Before TensorFlow; see roi_align.py.
try:
    import torch
    from torchvision.models.detection.roi_heads import paste_masks_in_image
except ImportError:
    torch = None

import numpy as np
import tensorflow as tf

import kseg_ops
from benchmarks.harness import Row, Timer
from benchmarks.ops.roi_align import random_boxes

COUNT, SIZE, HEIGHT, WIDTH = 100, 28, 800, 1216

TORCHVISION = "torchvision, > 0.5 not included"
FILL = "limit: tf.zeros of the result"


def run(timer: Timer) -> list[Row]:
    """Each mode and each output; a bar for the dense ones, which is what torchvision gives."""
    masks = np.random.default_rng(0).uniform(0, 1, (COUNT, SIZE, SIZE)).astype(np.float32)
    # Smooth, as predictions are: noise would make run lengths of single pixels.
    for axis in (1, 2):
        masks = (np.roll(masks, 1, axis) + masks + np.roll(masks, -1, axis)) / 3
    ridge = 1 - np.abs(np.linspace(-1, 1, SIZE, dtype=np.float32))
    masks = np.minimum(1, masks * 1.5 * np.sqrt(ridge[:, None] * ridge) * 1.5)
    boxes = random_boxes(COUNT, HEIGHT, WIDTH)
    peer = _torchvision(masks, boxes)
    fill = tf.function(lambda value: tf.fill([COUNT, HEIGHT, WIDTH], value))
    zero = tf.constant(0, tf.uint8)
    given = tf.constant(masks), tf.constant(boxes)
    rows = []
    for mode in ("torchvision", "detectron2"):
        for output in ("dense", "packed", "rle"):
            paste = tf.function(
                lambda masks, boxes, mode=mode, output=output: kseg_ops.paste_masks(
                    masks, boxes, (HEIGHT, WIDTH), mode=mode, output=output
                )
            )
            baselines = {TORCHVISION: peer} if peer else {}
            if output == "dense":
                baselines[FILL] = lambda: fill(zero)
            rows.append(
                timer.compare(
                    f"paste_masks {mode}, {COUNT} masks {SIZE}x{SIZE} into {HEIGHT}x{WIDTH}, {output}",
                    lambda paste=paste: paste(*given),
                    baselines,
                    bars={TORCHVISION: 30.0} if peer and output == "dense" else {},
                    repeats=3,
                )
            )
    return rows


def _torchvision(masks: np.ndarray, boxes: np.ndarray) -> Callable | None:
    if torch is None:
        return None
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    masks, boxes = torch.from_numpy(masks)[:, None], torch.from_numpy(boxes)

    def paste():
        with torch.no_grad():
            return paste_masks_in_image(masks, boxes, (HEIGHT, WIDTH))

    return paste
