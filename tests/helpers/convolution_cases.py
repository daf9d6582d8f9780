"""What the tests of the convolutions share: their definition in float64, one tap at a time, and bounds on rounding."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg_ops import _library

EPS = float(np.finfo(np.float32).eps)
CORE = _library.core()
HALF_UNIT = {"float32": 0.0, "float16": 2.0**-11, "bfloat16": 2.0**-8, "float64": 0.0}


def needs_native(op):
    """Skips a module of tests where the op does not run."""
    return pytest.mark.skipif(_library.native_op(op) is None or CORE is None, reason="the compiled library is off")


def reference(function):
    """The function with its reference."""

    def call(*args, **kwargs):
        with kseg_ops.use_reference():
            return function(*args, **kwargs)

    return call


def native_atrous_conv2d(monkeypatch):
    """`kseg_ops.atrous_conv2d` by the compiled op also where stock TensorFlow is faster."""
    if _library.native_op("atrous_conv2d") is None:
        pytest.skip("the compiled library is off")
    kseg_ops.atrous_conv2d  # noqa: B018 - imports the module
    monkeypatch.setattr(sys.modules["kseg_ops.atrous_conv2d"], "_LEAST_CHANNELS", 0)
    return kseg_ops.atrous_conv2d


def pads(size, kernel, rate, padding):
    """Pixels of padding before, and the size of the output."""
    reach = (kernel - 1) * rate
    return (reach // 2, size) if padding == "same" else (0, size - reach)


def defined_convolution(x, filters, rate=(1, 1), padding="same"):
    """The convolution by its definition, in float64."""
    x, filters = np.asarray(x, np.float64), np.asarray(filters, np.float64)
    kernel = filters.shape[:2]
    (top, height), (left, width) = (pads(x.shape[1 + axis], kernel[axis], rate[axis], padding) for axis in (0, 1))
    output = np.zeros((x.shape[0], height, width, filters.shape[3]))
    for i, j in np.ndindex(*kernel):
        for row in range(height):
            for column in range(width):
                y, z = row + i * rate[0] - top, column + j * rate[1] - left
                if 0 <= y < x.shape[1] and 0 <= z < x.shape[2]:
                    output[:, row, column] += x[:, y, z] @ filters[i, j]
    return output


def activate(values, activation):
    """The activations by their formulas."""
    if activation == "relu":
        return np.maximum(values, 0)
    if activation == "relu6":
        return np.clip(values, 0, 6)
    gate = np.clip(values + 3, 0, 6) / 6
    return {"hard_sigmoid": gate, "hard_silu": values * gate}.get(activation, values)


def random_convolution(seed, size=(7, 5), channels=5, outputs=4, kernel=(3, 3), batch=2, dtype=np.float32):
    """Map, filters, scale and offset."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((batch, *size, channels)).astype(dtype)
    filters = generator.standard_normal((*kernel, channels, outputs)).astype(dtype)
    scale, offset = generator.uniform(-2, 2, (2, outputs)).astype(np.float64 if dtype == np.float64 else np.float32)
    return x, filters, scale, offset


def rounding(x, filters, scale, offset, rate, padding):
    """How far rounding can move an element before the activation, which is 1.5-Lipschitz at most.

    A chain of n products and sums of float32 is off by at most n units of EPS / 2 of the sum of absolute values; both
    sides are, and the affine map adds two roundings.
    """
    terms = np.prod(filters.shape[:3]) + 2
    absolute = defined_convolution(np.abs(x), np.abs(filters), rate, padding) * np.abs(scale) + np.abs(offset)
    return 1.5 * terms * EPS * absolute + 1e-30


def as_float32(tensor):
    """Any float tensor as a float32 array."""
    return tf.cast(tensor, tf.float32).numpy()
