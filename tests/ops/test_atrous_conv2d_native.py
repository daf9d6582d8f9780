"""The compiled atrous convolution: equal to its reference on every instruction set, deterministic, strict."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops.numpy
from kseg_ops import _library
from tests.helpers.convolution_cases import (
    CORE,
    as_float32,
    native_atrous_conv2d,
    needs_native,
    random_convolution,
    reference,
    rounding,
)

pytestmark = needs_native("atrous_conv2d")


@functools.cache
def answer(channels, outputs, size, rate, activation):
    arrays = random_convolution(channels, size, channels, outputs)
    x, filters, scale, offset = arrays
    expected = reference(kseg_ops.atrous_conv2d)(x, filters, rate, None, scale, offset, activation).numpy()
    return arrays, expected, rounding(x, filters, scale, offset, rate, "same")


@pytest.mark.parametrize(
    ("channels", "outputs", "size", "rate"),
    [
        (1, 1, (1, 1), (1, 1)),
        (3, 7, (17, 9), (2, 3)),
        (16, 32, (14, 13), (1, 1)),
        (130, 33, (9, 11), (6, 4)),
        (600, 70, (6, 5), (2, 2)),  # more depth than one block holds
        (20, 300, (40, 19), (12, 18)),  # several strips
    ],
)
def test_native_equals_reference(target, monkeypatch, channels, outputs, size, rate):
    conv = native_atrous_conv2d(monkeypatch)
    for activation in ("linear", "relu6"):
        (x, filters, scale, offset), expected, bound = answer(channels, outputs, size, rate, activation)
        result = conv(x, filters, rate, None, scale, offset, activation).numpy()
        # Both sides are off by as much.
        assert np.all(np.abs(result - expected) <= 2 * bound)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_sixteen_bits_on_every_target(target, monkeypatch, dtype):
    conv = native_atrous_conv2d(monkeypatch)
    x, filters, scale, offset = random_convolution(1, (9, 7), 37, 21)
    x, filters = tf.cast(x, dtype), tf.cast(filters, dtype)
    exact = conv(tf.cast(x, tf.float32), tf.cast(filters, tf.float32), 3, None, scale, offset, "relu")
    # The same float32 sums, rounded once.
    np.testing.assert_array_equal(
        as_float32(conv(x, filters, 3, None, scale, offset, "relu")), as_float32(tf.cast(exact, dtype))
    )


def test_bitwise_equal_for_any_number_of_threads(target, monkeypatch):
    conv = native_atrous_conv2d(monkeypatch)
    x, filters, scale, offset = random_convolution(2, (31, 27), 40, 36)
    expected = conv(x, filters, (4, 6), None, scale, offset, "relu").numpy()
    try:
        for threads in (1, 2, 3, 5, 16, 2):
            CORE.set_num_threads(threads)
            result = kseg_ops.numpy.atrous_conv2d(x, filters, (4, 6), None, scale, offset, "relu")
            assert result.tobytes() == expected.tobytes()
    finally:
        CORE.set_num_threads(0)
    assert np.abs(expected).max() > 1


def test_the_numpy_form_equals_the_op(target, monkeypatch):
    conv = native_atrous_conv2d(monkeypatch)
    for dtype in (np.float32, np.float16, tf.bfloat16.as_numpy_dtype):
        x, filters, scale, offset = random_convolution(3, (7, 6), 5, 4)
        x, filters = x.astype(dtype), filters.astype(dtype)
        result = kseg_ops.numpy.atrous_conv2d(x, filters, 2, offset, activation="relu")
        assert result.dtype == x.dtype
        np.testing.assert_array_equal(result, conv(x, filters, 2, offset, activation="relu").numpy())
        result = kseg_ops.numpy.atrous_conv2d(x[..., ::-1, :], filters, (1, 2), scale=scale, padding="valid")
        expected = conv(x[..., ::-1, :].copy(), filters, (1, 2), scale=scale, padding="valid")
        np.testing.assert_array_equal(result, expected.numpy())


def test_shape_function_merges_and_refuses():
    op = _library.native_op("atrous_conv2d")
    with tf.Graph().as_default():

        def call(x=(2, 8, 9, 3), filters=(3, 3, 3, 5), scale=(5,), offset=(0,), **attributes):
            given = [tf.compat.v1.placeholder(tf.float32, shape) for shape in (x, filters, scale, offset)]
            names = ("x", "filters", "scale", "offset")
            return op(**dict(zip(names, given, strict=True)), **{"rate": (2, 3), **attributes}).shape

        assert call().as_list() == [2, 8, 9, 5]
        assert call(padding="valid").as_list() == [2, 4, 3, 5]
        assert call((None, None, 9, 3), padding="valid").as_list() == [None, None, 3, 5]
        assert call(None, None).as_list() == [None, None, None, 5]
        assert call(None, None, None, None).as_list() == [None] * 4
        for change, message in (
            ({"x": (8, 9, 3)}, "must be rank 4"),
            ({"filters": (3, 3, 4, 5)}, "must be equal"),
            ({"scale": (4,)}, "must be equal"),
            ({"offset": (5, 1)}, "must be rank 1"),
            ({"rate": (2,)}, "rate must have two entries"),
            ({"rate": (2, 0)}, "rate must be in 1..65536, got 0"),
            ({"rate": (2**40, 1)}, "rate must be in 1..65536"),
            ({"activation": "tanh"}, "activation must be one of .* got 'tanh'"),
            ({"padding": "full"}, "padding must be 'same' or 'valid', got 'full'"),
            ({"padding": "valid", "rate": (5, 1)}, "x must have a height of at least 10 .* got 8"),
        ):
            with pytest.raises(ValueError, match=message):
                call(**change)


def test_the_op_checks_what_it_gets():
    op = _library.native_op("atrous_conv2d")
    given = {
        "x": tf.zeros([1, 4, 5, 3]),
        "filters": tf.zeros([3, 3, 3, 2]),
        "scale": tf.zeros([2]),
        "offset": tf.zeros([0]),
        "rate": (1, 1),
    }
    assert op(**given).shape == (1, 4, 5, 2)
    assert op(**{**given, "padding": "valid", "rate": (2, 1)}).shape == (1, 0, 3, 2)
    for wrong, message in (
        ({"x": tf.zeros([4, 5, 3])}, "x must have rank 4"),
        ({"filters": tf.zeros([3, 3, 2])}, "filters must have rank 4"),
        ({"scale": tf.zeros([])}, "scale must have rank 1"),
        ({"offset": tf.zeros([1, 2])}, "offset must have rank 1"),
        ({"x": tf.zeros([1, 4, 5, 2])}, "filters must have shape .* C = 2"),
        ({"x": tf.zeros([1, 4, 5, 0]), "filters": tf.zeros([3, 3, 0, 2])}, "x must have at least one channel"),
        ({"filters": tf.zeros([3, 3, 3, 0])}, "at least one output channel"),
        ({"filters": tf.zeros([0, 3, 3, 2])}, r"filters must have a height in 1..1048576, got 0"),
        ({"scale": tf.zeros([3])}, "scale must have one entry per output channel, 2, or none, got 3"),
        ({"offset": tf.zeros([1])}, "offset must have one entry per output channel"),
        ({"padding": "valid", "rate": (3, 1)}, "height of at least 6 for padding 'valid'.* got 4"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            op(**{**given, **wrong})


def test_the_numpy_form_checks_what_it_gets():
    x, filters, scale, _ = random_convolution(4)
    for args, error, message in (
        ((x.astype(np.int32), filters), TypeError, "x must be one of float32, float16, bfloat16, got int32"),
        ((x, filters.astype(np.float64)), TypeError, "filters must be float32, got float64"),
        ((x[0], filters), ValueError, "x must have rank 4, got rank 3"),
        ((x, filters[:, :, :3]), ValueError, "filters must have shape .* C = 5"),
        ((x, filters, 0), ValueError, "rate must be in 1..65536, got 0"),
        ((x, filters, 1, None, scale[:2]), ValueError, "scale must have one entry per output channel, 4, or none"),
        ((x, filters, 9, None, None, None, None, "valid"), ValueError, "height of at least 18"),
    ):
        with pytest.raises(error, match=message):
            kseg_ops.numpy.atrous_conv2d(*args)
    with pytest.raises(ValueError, match=r"rate must be in 1\.\.65536, got -3"):
        CORE.atrous_conv2d(x, filters, scale, scale, (-3, 1))
    with pytest.raises(ValueError, match="activation must be one of"):
        CORE.atrous_conv2d(x, filters, scale, scale, (1, 1), "swish")
