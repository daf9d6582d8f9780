"""What the tests of RoIAlign share: its definition one sample at a time, boxes of all kinds, and bounds on rounding."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg_ops import _library

EPS = float(np.finfo(np.float32).eps)
CORE = _library.core()

needs_native = pytest.mark.skipif(
    _library.native_op("roi_align") is None or CORE is None, reason="the compiled library is off"
)


def reference(*args, **kwargs):
    """`kseg_ops.roi_align` in stock TensorFlow."""
    with kseg_ops.use_reference():
        return kseg_ops.roi_align(*args, **kwargs)


def native(*args, **kwargs):
    """`kseg_ops.roi_align` by the compiled op."""
    if _library.native_op("roi_align") is None:
        pytest.skip("the compiled library is off")
    return kseg_ops.roi_align(*args, **kwargs)


def gradient_of(function, features, boxes, indices, upstream, *args) -> np.ndarray:
    """The gradient of `function` with respect to the features, for an upstream gradient."""
    features = tf.convert_to_tensor(features)
    with tf.GradientTape() as tape:
        tape.watch(features)
        pooled = function(features, boxes, indices, *args)
    return tape.gradient(pooled, features, tf.cast(upstream, pooled.dtype)).numpy()


def scalar_roi_align(features, boxes, indices, size, scale=1.0, ratio=2, aligned=True):
    """The definition, one sample at a time; coordinates in the precision of the features (float32 at least)."""
    real = np.float64 if features.dtype == np.float64 else np.float32
    _, height, width, channels = features.shape
    output = np.zeros((len(boxes), *size, channels))
    images = features.astype(np.float64)
    for k, box in enumerate(boxes.astype(real)):
        image = images[indices[k]]
        offset = real(0.5 if aligned else 0)
        x1, y1, x2, y2 = box * real(np.float32(scale)) - offset
        extents = [y2 - y1, x2 - x1]
        if not aligned:
            extents = [max(extent, real(1)) for extent in extents]
        bins = [real(extents[axis]) / real(size[axis]) for axis in (0, 1)]
        counts = [ratio or max(math.ceil(bins[axis]), 0) for axis in (0, 1)]
        for (p, q), (i, j) in itertools.product(np.ndindex(*size), np.ndindex(*counts)):
            y = y1 + real(p) * bins[0] + real(i + 0.5) * bins[0] / real(counts[0])
            x = x1 + real(q) * bins[1] + real(j + 0.5) * bins[1] / real(counts[1])
            if not (-1 <= y <= height and -1 <= x <= width):
                continue
            y, x = max(y, real(0)), max(x, real(0))
            top, left = min(int(y), height - 1), min(int(x), width - 1)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            fy = float(y - top) if top < height - 1 else 0.0
            fx = float(x - left) if left < width - 1 else 0.0
            above = (1 - fx) * image[top, left] + fx * image[top, right]
            below = (1 - fx) * image[bottom, left] + fx * image[bottom, right]
            output[k, p, q] += ((1 - fy) * above + fy * below) / (counts[0] * counts[1])
    return output


def random_case(seed, channels=3, height=11, width=14, count=24, dtype=np.float32):
    """Feature maps and boxes of all kinds: small, large, across the border, empty, inverted, far away."""
    generator = np.random.default_rng(seed)
    features = generator.uniform(-1, 1, (2, height, width, channels)).astype(dtype)
    corners = generator.uniform(-6, 24, (count, 2))
    sizes = np.exp(generator.uniform(np.log(0.2), np.log(40), (count, 2)))
    boxes = np.concatenate([corners, corners + sizes], 1)
    if count >= 6:
        boxes[0] = [-100, -100, 200, 200]
        boxes[1] = [300, 300, 310, 310]
        boxes[2] = [4, 4, 4, 9]
        boxes[3] = [9, 8, 3, 2]
        boxes[4] = [0, 0, width, height]
    return features, boxes.astype(np.float32), generator.integers(0, 2, count).astype(np.int32)


def terms(sampling_ratio, features):
    """How many products one output sums, at most; each rounds once and is added once."""
    return 2 * min((2 * sampling_ratio) ** 2 if sampling_ratio else np.inf, features.shape[1] * features.shape[2]) + 8
