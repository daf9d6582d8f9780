"""The compiled atrous separable convolution: every instruction set, determinism, strictness."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
import kseg_ops.numpy
from kseg_ops import _library
from tests.helpers.atrous_cases import (
    CASES,
    CORE,
    call_reference,
    needs_native,
    random_separable,
    separable,
    separable_bound,
)

pytestmark = needs_native

reference = call_reference("atrous_separable_conv2d")
NONE = np.zeros(0, np.float32)


def run(function, x, weights, rate, padding="same", first="relu", last="relu6"):
    names = ("depthwise", "pointwise", "depthwise_scale", "depthwise_offset", "scale", "offset")
    arguments = {"depthwise_activation": first, "activation": last, "rate": rate, "padding": padding}
    return function(x=x, **dict(zip(names, weights, strict=True)), **arguments)


# The matrix product behind it: depths of several blocks of 512 and their remainders, columns on both sides of a strip
# of every target, rows that fill no tile.
PRODUCTS = [
    (((1, 3, 5, 511), (1, 1), 1, (1, 1), "same"), 33),
    (((1, 3, 5, 513), (1, 1), 1, (1, 1), "same"), 31),
    (((1, 9, 13, 1030), (1, 1), 1, (1, 1), "same"), 64),
    (((1, 5, 6, 260), (3, 3), 2, (2, 2), "same"), 17),
    (((1, 15, 17, 8), (3, 3), 1, (3, 3), "same"), 7),
    (((1, 1, 300, 4), (1, 3), 1, (1, 2), "same"), 1),
    (((1, 64, 1, 3), (5, 1), 1, (30, 1), "same"), 15),
]


@pytest.mark.parametrize(("case", "filters"), PRODUCTS + [(case, 9) for case in CASES], ids=str)
def test_native_equals_reference(target, case, filters):
    rate, padding = case[3:]
    x, weights = random_separable(case, filters)
    _, magnitude = separable(x, weights, rate, padding, "relu", "relu6")
    result = run(kseg_ops.atrous_separable_conv2d, x, weights, rate, padding)
    expected = run(reference, x, weights, rate, padding)
    assert np.all(np.abs(result - expected) <= 2 * separable_bound(*weights[:2]) * magnitude)


@pytest.mark.parametrize("given", range(16))
def test_vectors_may_be_missing(target, given):
    x, (depthwise, pointwise, *vectors) = random_separable(CASES[0], 35)
    vectors = [vector if given >> i & 1 else None for i, vector in enumerate(vectors)]
    result = run(kseg_ops.atrous_separable_conv2d, x, [depthwise, pointwise, *vectors], 2)
    expected = run(reference, x, [depthwise, pointwise, *vectors], 2)
    ones = [np.ones(3), np.zeros(3), np.ones(35), np.zeros(35)]
    full = [one if vector is None else vector for vector, one in zip(vectors, ones, strict=True)]
    _, magnitude = separable(x, [depthwise, pointwise, *full], (2, 2), "same", "relu", "relu6")
    assert np.all(np.abs(result - expected) <= 2 * separable_bound(depthwise, pointwise) * magnitude)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_bitwise_equal_for_any_number_of_threads(target, dtype):
    x, weights = random_separable(((2, 40, 37, 70), (3, 3), 1, (3, 5), "same"), 45)
    x, weights[0], weights[1] = (array.astype(dtype) for array in (x, *weights[:2]))
    results = []
    try:
        for threads in (1, 2, 3, 5, 2):
            CORE.set_num_threads(threads)
            results.append(run(CORE.atrous_separable_conv2d, x, weights, (3, 5)).tobytes())
    finally:
        CORE.set_num_threads(0)
    results.append(run(kseg_ops.atrous_separable_conv2d, x, weights, (3, 5)).numpy().tobytes())
    assert len(set(results)) == 1


def test_the_numpy_form(target):
    x, weights = random_separable(CASES[3], 11)
    result = run(kseg_ops.numpy.atrous_separable_conv2d, x, weights, 2)
    np.testing.assert_array_equal(result, run(kseg_ops.atrous_separable_conv2d, x, weights, 2))
    bare = kseg_ops.numpy.atrous_separable_conv2d(x, *weights[:2], bias=weights[-1])
    np.testing.assert_array_equal(bare, kseg_ops.atrous_separable_conv2d(x, *weights[:2], bias=weights[-1]))
    with pytest.raises(ValueError, match="bias stands alone"):
        kseg_ops.numpy.atrous_separable_conv2d(x, *weights[:2], bias=weights[-1], offset=weights[-1])
    with pytest.raises(ValueError, match=r"scale must have one entry per channel, got shape \(0,\)"):
        kseg_ops.numpy.atrous_separable_conv2d(x, *weights[:2], scale=NONE)


RAW = {
    "x": np.ones((1, 4, 4, 2), np.float32),
    "depthwise": np.ones((3, 3, 2, 2), np.float32),
    "pointwise": np.ones((1, 1, 4, 5), np.float32),
    "depthwise_scale": NONE,
    "depthwise_offset": NONE,
    "scale": NONE,
    "offset": NONE,
    "rate": (1, 2),
    "padding": "same",
}
WRONG = [
    ({"rate": (1, 2, 3)}, "rate must have two entries"),
    ({"rate": (-1, 1)}, "rate must be in 1..65536, got -1"),
    ({"padding": ""}, "padding must be 'same' or 'valid', got ''"),
    ({"activation": "tanh"}, "activation must be one of linear, relu, relu6, hard_sigmoid, hard_silu, got 'tanh'"),
    ({"depthwise_activation": "elu"}, "depthwise_activation must be one of .* got 'elu'"),
    ({"rate": (3, 1), "padding": "valid"}, "x must have a height of at least 6 "),
    ({"x": np.ones((4, 4, 2), np.float32)}, "x must have rank 4"),
    ({"depthwise": np.ones((9, 2, 2), np.float32)}, "depthwise must have rank 4"),
    ({"pointwise": np.ones((4, 5), np.float32)}, "pointwise must have rank 4"),
    ({"scale": np.ones((1, 5), np.float32)}, "scale must have rank 1"),
    ({"depthwise": np.ones((3, 3, 4, 1), np.float32)}, "depthwise must have shape .kh, kw, C, m. with C = 2"),
    ({"depthwise": np.ones((3, 3, 2, 0), np.float32)}, "and m of at least 1"),
    ({"depthwise": np.ones((0, 3, 2, 2), np.float32)}, "depthwise must have a height in 1..64, got 0"),
    ({"pointwise": np.ones((1, 2, 4, 5), np.float32)}, "pointwise must have shape .1, 1, C . m, F. with C . m = 4"),
    ({"pointwise": np.ones((1, 1, 3, 5), np.float32)}, "pointwise must have shape .1, 1, C . m, F. with C . m = 4"),
    ({"depthwise_scale": np.ones(2, np.float32)}, "depthwise_scale must have one entry per channel, 4, or none, got 2"),
    ({"depthwise_offset": np.ones(5, np.float32)}, "depthwise_offset must have one entry per channel, 4"),
    ({"scale": np.ones(4, np.float32)}, "scale must have one entry per channel, 5, or none, got 4"),
    ({"offset": np.ones(6, np.float32)}, "offset must have one entry per channel, 5, or none, got 6"),
    ({"x": np.ones((1, 4, 4, 0), np.float32), "depthwise": np.ones((3, 3, 0, 2), np.float32)}, "at least one channel"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_the_raw_op_and_the_numpy_module_check_what_they_get(wrong, message):
    given = {**RAW, **wrong}
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=message):
        _library.native_op("atrous_separable_conv2d")(**given)
    with pytest.raises(ValueError, match=message):
        CORE.atrous_separable_conv2d(**given)


def test_the_numpy_module_checks_dtypes():
    for name, message in (
        ("x", "x must be one of float32, float16, bfloat16, got float64"),
        ("depthwise", "depthwise must be float32, got float64"),
        ("pointwise", "pointwise must be float32, got float64"),
        ("offset", "offset must be float32, got float64"),
    ):
        with pytest.raises(TypeError, match=message):
            CORE.atrous_separable_conv2d(**{**RAW, name: RAW[name].astype(np.float64)})


def test_shape_function():
    op = _library.native_op("atrous_separable_conv2d")
    with tf.Graph().as_default():

        def given(*shape):
            return tf.compat.v1.placeholder(tf.float32, list(shape))

        names = ("x", "depthwise", "pointwise", "depthwise_scale", "depthwise_offset", "scale", "offset")

        def infer(*shapes, **attributes):
            inputs = dict(zip(names, (given(*shape) for shape in shapes), strict=True))
            return op(**inputs, **{"rate": (2, 3), "padding": "valid", **attributes}).shape.as_list()

        affine = ((None,), (0,), (5,), (0,))
        assert infer((None, 9, 9, 4), (3, 3, 4, 2), (1, 1, 8, 5), *affine) == [None, 5, 3, 5]
        assert infer((2, 9, None, None), (None, 3, 4, None), (1, 1, None, 5), *affine) == [2, None, None, 5]
        for shapes, message in (
            (((1, 9, 9, 4), (3, 3, 5, 2), (1, 1, 8, 5), *affine), "must be equal"),
            (((1, 9, 9, 4), (3, 3, 4, 2), (1, 1, 9, 5), *affine), "must be equal"),
            (((1, 9, 9, 4), (3, 3, 4, 2), (1, 2, 8, 5), *affine), "must be 1"),
            (((1, 9, 9, 4), (3, 3, 4, 2), (1, 1, 8, 5), (7,), (0,), (0,), (0,)), "must be equal"),
            (((1, 9, 9, 4), (3, 3, 4, 2), (1, 1, 8, 5), (0,), (0,), (0,), (4,)), "must be equal"),
            (((1, 3, 9, 4), (3, 3, 4, 2), (1, 1, 8, 5), *affine), "x must have a height of at least 4 "),
        ):
            with pytest.raises(ValueError, match=message):
                infer(*shapes)
