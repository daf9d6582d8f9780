"""RoIAlign forward and forward + backward, against torchvision's CPU operator and against stock TensorFlow."""

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
from benchmarks.boxes import random_boxes
from benchmarks.harness import Row, Timer
from benchmarks.limits import copying, multiplying
from benchmarks.region_limits import pixels_read, pixels_summed

# (boxes, bins, features [B, H, W, C], scale): the finest level of a feature pyramid on an image of 800 x 1216.
CASES = ((1000, 7, (1, 200, 304, 256), 0.25), (100, 14, (1, 200, 304, 256), 0.25))

# (features, scale, the least share of the speed of fixed sampling). On a coarse map a bin is a pixel or two wide, and
# adaptive sampling takes as many samples. On a fine map it averages every pixel under a box, 150 x 150 of them for one
# of 600 pixels, where two samples per bin read 28 x 28: there the cost is that of the pixels.
ADAPTIVE_CASES = (((1, 50, 76, 256), 1 / 16, 0.7), ((1, 200, 304, 256), 0.25, None))

TORCHVISION = "torchvision.ops.roi_align"
FIXED = "kseg itself with sampling_ratio=2"
STOCK = "tf.image.crop_and_resize + avg_pool2d"


def run(timer: Timer) -> list[Row]:
    """Times every case; torchvision's columns are there only where it is installed."""
    rows = []
    for count, bins, shape, scale in CASES:
        generator = np.random.default_rng(1)
        features = generator.standard_normal(shape, np.float32)
        gradient = generator.standard_normal((count, bins, bins, shape[-1]), np.float32)
        boxes = random_boxes(count, shape[1] / scale, shape[2] / scale)
        ours = _ours(features, boxes, gradient, bins, scale)
        peer = _torchvision(features, boxes, gradient, bins, scale)
        what = f"{'x'.join(map(str, shape[1:]))}, {count} boxes -> {bins}x{bins}"
        forward = {**({TORCHVISION: peer[0]} if peer else {}), STOCK: _stock(features, boxes, bins, scale)}
        bars = {name: {TORCHVISION: 25.0, STOCK: 2.0}[name] for name in forward}
        forward |= copying(4 * shape[-1] * (pixels_read(boxes, bins, shape[1:3], scale, 2) + count * bins * bins))
        rows.append(timer.compare(f"roi_align forward, {what}", ours[0], forward, bars=bars))
        if peer:
            rows.append(
                timer.compare(
                    f"roi_align forward + backward, {what}", ours[1], {TORCHVISION: peer[1]}, bars={TORCHVISION: 25.0}
                )
            )
    return rows + [_adaptive(timer, *case) for case in ADAPTIVE_CASES]


def _adaptive(timer: Timer, shape: tuple[int, ...], scale: float, bar: float | None) -> Row:
    """Adaptive sampling against two samples per bin and axis, on the same boxes."""
    features = tf.constant(np.random.default_rng(1).standard_normal(shape, np.float32))
    boxes = random_boxes(1000, shape[1] / scale, shape[2] / scale, least=20, most=600)
    moved = 4 * shape[-1] * (pixels_read(boxes, 7, shape[1:3], scale, 0) + len(boxes) * 49)
    # One multiplication and one addition for each pixel of a bin and channel, at the rate of a matrix product: what no
    # method that averages the pixels under each box can beat.
    flop = 2 * shape[-1] * pixels_summed(boxes, 7, shape[1:3], scale, 0)
    boxes, indices = tf.constant(boxes), tf.zeros(len(boxes), tf.int32)

    def call(sampling_ratio):
        @tf.function
        def forward(features, boxes, indices):
            return kseg_ops.roi_align(features, boxes, indices, 7, scale, sampling_ratio)

        return lambda: forward(features, boxes, indices)

    what = f"{'x'.join(map(str, shape[1:]))}, stride {round(1 / scale)}, 1000 boxes of 20..600 pixels -> 7x7"
    bars = {} if bar is None else {FIXED: bar}
    return timer.compare(
        f"roi_align forward, adaptive sampling, {what}",
        call(0),
        {FIXED: call(2), **copying(moved), **multiplying(flop)},
        bars=bars,
    )


def _ours(features, boxes, gradient, bins, scale) -> tuple[Callable, Callable]:
    features, boxes, gradient = tf.constant(features), tf.constant(boxes), tf.constant(gradient)
    indices = tf.zeros(len(boxes), tf.int32)

    @tf.function
    def forward(features, boxes, indices):
        return kseg_ops.roi_align(features, boxes, indices, bins, scale)

    @tf.function
    def both(features, boxes, indices, gradient):
        with tf.GradientTape() as tape:
            tape.watch(features)
            pooled = kseg_ops.roi_align(features, boxes, indices, bins, scale)
        return pooled, tape.gradient(pooled, features, gradient)

    return lambda: forward(features, boxes, indices), lambda: both(features, boxes, indices, gradient)


def _stock(features, boxes, bins, scale) -> Callable:
    """Not the same samples, but what one would write: bilinear crops of twice the size, averaged two by two."""
    height, width = features.shape[1:3]
    features, boxes = tf.constant(features), tf.constant(boxes)
    indices = tf.zeros(len(boxes), tf.int32)

    @tf.function
    def forward(features, boxes, indices):
        corners = tf.gather(boxes, [1, 0, 3, 2], axis=1) * scale
        normal = (corners - 0.5) / tf.constant([height - 1, width - 1, height - 1, width - 1], tf.float32)
        crops = tf.image.crop_and_resize(features, normal, indices, [2 * bins, 2 * bins])
        return tf.nn.avg_pool2d(crops, 2, 2, "VALID")

    return lambda: forward(features, boxes, indices)


def _torchvision(features, boxes, gradient, bins, scale) -> tuple[Callable, Callable] | None:
    if torch is None:
        return None
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    # Its own layout: channels first, contiguous.
    features = torch.from_numpy(features.transpose(0, 3, 1, 2).copy())
    gradient = torch.from_numpy(gradient.transpose(0, 3, 1, 2).copy())
    boxes = torch.from_numpy(np.concatenate([np.zeros((len(boxes), 1), np.float32), boxes], 1))

    def forward():
        with torch.no_grad():
            return torchvision.ops.roi_align(features, boxes, bins, scale, 2, True)

    def both():
        leaf = features.detach().requires_grad_()
        pooled = torchvision.ops.roi_align(leaf, boxes, bins, scale, 2, True)
        pooled.backward(gradient)
        return pooled, leaf.grad

    return forward, both
