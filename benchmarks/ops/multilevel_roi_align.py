"""Multi-level RoIAlign on P2..P5, against torchvision's pooler and against what one writes in stock TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Callable

# Before TensorFlow: the other way round, the two copies of LLVM in them end the process on some installations
# ("registered more than once").
try:
    import torch
    import torchvision
except ImportError:
    torch = None

import numpy as np
import tensorflow as tf

import kseg_ops
from benchmarks.harness import Row, Timer
from benchmarks.limits import copying
from benchmarks.ops.roi_align import random_boxes
from benchmarks.region_limits import pixels_read

# The pyramid of an image of 800 x 1216.
SIZES = {"P2": (200, 304), "P3": (100, 152), "P4": (50, 76), "P5": (25, 38)}
CHANNELS = 256
CASES = ((1000, 7), (100, 14))
SAMPLING_RATIO = 2

TORCHVISION = "torchvision.ops.MultiScaleRoIAlign"
ADAPTIVE = "kseg itself with sampling_ratio=0"


def run(timer: Timer) -> list[Row]:
    """Times every case; torchvision's columns are there only where it is installed."""
    generator = np.random.default_rng(1)
    features = {name: generator.standard_normal((1, *size, CHANNELS), np.float32) for name, size in SIZES.items()}
    rows = []
    for count, bins in CASES:
        boxes = random_boxes(count, 800, 1216)
        gradient = generator.standard_normal((count, bins, bins, CHANNELS), np.float32)
        forward, both, adaptive = _ours(features, boxes, gradient, bins)
        peer = _torchvision(features, boxes, gradient, bins)
        what = f"P2..P5 of 800x1216x{CHANNELS}, {count} boxes -> {bins}x{bins}"
        moved = _bytes(boxes, bins)
        rows.append(
            timer.compare(
                f"multilevel_roi_align forward, {what}",
                forward,
                {**({TORCHVISION: peer[0]} if peer else {}), ADAPTIVE: adaptive, **copying(moved)},
                bars={TORCHVISION: 20.0} if peer else {},
            )
        )
        if peer:
            name = f"multilevel_roi_align forward + backward, {what}"
            rows.append(timer.compare(name, both, {TORCHVISION: peer[1]}, bars={TORCHVISION: 20.0}))
    return rows


def _ours(features, boxes, gradient, bins) -> tuple[Callable, Callable, Callable]:
    features = {name: tf.constant(level) for name, level in features.items()}
    boxes, gradient = tf.constant(boxes[None]), tf.constant(gradient[None])

    @tf.function
    def forward(features, boxes):
        return kseg_ops.multilevel_roi_align(features, boxes, bins, SAMPLING_RATIO)

    @tf.function
    def adaptive(features, boxes):
        return kseg_ops.multilevel_roi_align(features, boxes, bins, 0)

    @tf.function
    def both(features, boxes, gradient):
        with tf.GradientTape() as tape:
            tape.watch(features)
            pooled = kseg_ops.multilevel_roi_align(features, boxes, bins, SAMPLING_RATIO)
        return pooled, tape.gradient(pooled, features, gradient)

    return (
        lambda: forward(features, boxes),
        lambda: both(features, boxes, gradient),
        lambda: adaptive(features, boxes),
    )


def _torchvision(features, boxes, gradient, bins) -> tuple[Callable, Callable] | None:
    if torch is None:
        return None
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    # Its own layout: channels first, contiguous.
    features = {name: torch.from_numpy(level.transpose(0, 3, 1, 2).copy()) for name, level in features.items()}
    gradient = torch.from_numpy(gradient.transpose(0, 3, 1, 2).copy())
    boxes = [torch.from_numpy(boxes)]
    pooler = torchvision.ops.MultiScaleRoIAlign(list(features), bins, SAMPLING_RATIO)

    def forward():
        with torch.no_grad():
            return pooler(features, boxes, [(800, 1216)])

    def both():
        leaves = {name: level.detach().requires_grad_() for name, level in features.items()}
        pooled = pooler(leaves, boxes, [(800, 1216)])
        pooled.backward(gradient)
        return pooled, [level.grad for level in leaves.values()]

    return forward, both


def _bytes(boxes: np.ndarray, bins: int) -> int:
    """What memory has to give and take: every pixel that some box reads, once, and the output."""
    sides = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    levels = np.clip(np.floor(4 + np.log2(sides / 224) + 1e-6), 2, 5).astype(int)
    read = 0
    for name, size in SIZES.items():
        level = int(name[1:])
        read += pixels_read(boxes[levels == level], bins, size, 2.0**-level, SAMPLING_RATIO)
    return 4 * CHANNELS * (read + len(boxes) * bins * bins)
