"""What the tests of the atrous convolutions share: their definition in float64, shapes of all kinds, and both forms."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg_ops import _library

EPS = float(np.finfo(np.float32).eps)
CORE = _library.core()

needs_native = pytest.mark.skipif(
    _library.native_op("depthwise_atrous_conv2d") is None or CORE is None, reason="the compiled library is off"
)

# x [B, H, W, C], kernel, depth multiplier, rate, padding: odd sizes, even kernels, rates per axis and beyond the map,
# channels around the vectors of every instruction set and beyond one block of them.
CASES = [
    ((1, 7, 9, 3), (3, 3), 1, (2, 3), "same"),
    ((2, 13, 11, 33), (3, 3), 1, (1, 1), "same"),
    ((1, 20, 21, 40), (3, 5), 1, (2, 1), "same"),
    ((1, 13, 11, 5), (2, 4), 2, (3, 2), "same"),
    ((1, 13, 14, 9), (2, 4), 3, (3, 2), "valid"),
    ((2, 5, 5, 33), (3, 3), 2, (9, 30), "same"),
    ((1, 4, 5, 7), (2, 2), 1, (5, 8), "same"),
    ((1, 9, 10, 64), (7, 7), 1, (1, 2), "same"),
    ((1, 9, 9, 65), (1, 1), 1, (4, 2), "same"),
    ((1, 30, 31, 16), (3, 3), 1, (6, 4), "valid"),
    ((3, 1, 1, 70), (3, 3), 1, (1, 1), "same"),
    ((1, 6, 5, 1), (5, 3), 1, (1, 2), "valid"),
    ((1, 37, 40, 8), (3, 3), 1, (12, 12), "same"),
]


def random_depthwise(case, seed=0, dtype=np.float32):
    """x and filters for a case, within -1..1."""
    shape, kernel, multiplier, *_ = case
    generator = np.random.default_rng(seed)
    x = generator.uniform(-1, 1, shape).astype(dtype)
    return x, generator.uniform(-1, 1, (*kernel, shape[3], multiplier)).astype(dtype)


def convolve(x, filters, rate, padding):
    """The definition of the depthwise convolution, a tap at a time, in float64."""
    x, filters = np.asarray(x, np.float64), np.asarray(filters, np.float64)
    batch, height, width, channels = x.shape
    kernel = filters.shape[:2]
    reach = [(taps - 1) * step for taps, step in zip(kernel, rate, strict=True)]
    before = [0, 0] if padding == "valid" else [size // 2 for size in reach]
    size = [height, width] if padding == "same" else [height - reach[0], width - reach[1]]
    output = np.zeros((batch, *size, channels, filters.shape[3]))
    for ky, kx in np.ndindex(*kernel):
        top, left = ky * rate[0] - before[0], kx * rate[1] - before[1]
        y0, y1 = max(0, -top), min(size[0], height - top)
        x0, x1 = max(0, -left), min(size[1], width - left)
        if y0 < y1 and x0 < x1:
            part = x[:, y0 + top : y1 + top, x0 + left : x1 + left, :, None]
            output[:, y0:y1, x0:x1] += part * filters[ky, kx]
    return output.reshape(batch, *size, -1)


ACTIVATE = {
    "linear": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "relu6": lambda z: np.clip(z, 0, 6),
    "hard_sigmoid": lambda z: np.clip(z + 3, 0, 6) / 6,
    "hard_silu": lambda z: z * np.clip(z + 3, 0, 6) / 6,
}


def separable(x, weights, rate, padding, first, last):
    """The definition of the separable convolution, and a bound on |products| that went into each output."""
    depthwise, pointwise, scale1, offset1, scale2, offset2 = (np.asarray(w, np.float64) for w in weights)
    middle = ACTIVATE[first](convolve(x, depthwise, rate, padding) * scale1 + offset1)
    output = ACTIVATE[last](middle @ pointwise[0, 0] * scale2 + offset2)
    most = convolve(np.abs(x), np.abs(depthwise), rate, padding) * np.abs(scale1) + np.abs(offset1) + 3
    return output, most @ np.abs(pointwise[0, 0]) * np.abs(scale2) + np.abs(offset2) + 3


def random_separable(case, filters, seed=0):
    """x, then depthwise, pointwise, scales and offsets."""
    x, depthwise = random_depthwise(case, seed)
    generator = np.random.default_rng(seed + 1)
    middle = depthwise.shape[2] * depthwise.shape[3]
    pointwise = generator.uniform(-1, 1, (1, 1, middle, filters))
    vectors = [generator.uniform(-1, 1, size) for size in (middle, middle, filters, filters)]
    return x, [depthwise, *(array.astype(np.float32) for array in (pointwise, *vectors))]


def separable_bound(depthwise, pointwise):
    """Relative to the sum of magnitudes: a rounding per product, sum, scale, offset and activation, on either side.

    Hard SiLU magnifies what reaches it by at most 3/2, twice in a row.
    """
    terms = depthwise.shape[0] * depthwise.shape[1] + pointwise.shape[2] + 12
    return 1.5**2 * terms * EPS


def gradients(function, tensors, upstream):
    """The gradients of function(*tensors) for an upstream gradient, as arrays."""
    tensors = [tf.convert_to_tensor(tensor) for tensor in tensors]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        result = function(*tensors)
    return [gradient.numpy() for gradient in tape.gradient(result, tensors, tf.cast(upstream, result.dtype))]


def call_reference(function):
    """The function of kseg_ops of that name, in stock TensorFlow."""

    def call(*args, **kwargs):
        with kseg_ops.use_reference():
            return getattr(kseg_ops, function)(*args, **kwargs)

    return call
