"""The compiled ASPP: equal to its reference on every instruction set, deterministic, strict."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops.numpy
from kseg_ops import _library
from tests.helpers.aspp_cases import defined_block, random_block, random_map
from tests.helpers.convolution_cases import CORE, needs_native, reference

pytestmark = needs_native("aspp")

CASES = [
    ({"channels": 5}, (9, 7)),
    # More depth than one block holds, more filters than one strip of sums, odd everything.
    ({"channels": 530, "outputs": (3, 17), "rates": (1, 2), "separable": (1,), "final": 5}, (5, 6)),
    ({"channels": 20, "outputs": (70, 33), "rates": (1, (12, 6)), "pooled": 65, "final": 130}, (31, 29)),
]


@functools.cache
def answer(index):
    options, size = CASES[index]
    block, x = random_block(index, **options), random_map(index, size, options["channels"])
    return x, block, reference(kseg_ops.aspp)(x, **block).numpy(), defined_block(x, **block)[1]


@pytest.mark.parametrize("index", range(len(CASES)))
def test_native_equals_reference(target, index):
    x, block, expected, bound = answer(index)
    # Both sides are off by as much.
    assert np.all(np.abs(kseg_ops.aspp(x, **block) - expected) <= 2 * bound)


def test_bitwise_equal_for_any_number_of_threads(target):
    x, block, _, _ = answer(2)
    expected = kseg_ops.aspp(x, **block).numpy()
    try:
        for threads in (1, 2, 3, 5, 16, 2):
            CORE.set_num_threads(threads)
            assert kseg_ops.numpy.aspp(x, **block).tobytes() == expected.tobytes()
    finally:
        CORE.set_num_threads(0)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, tf.bfloat16.as_numpy_dtype])
def test_the_numpy_form_equals_the_op(target, dtype):
    block, x = random_block(3, separable=(1,), dtype=dtype), random_map(3, dtype=dtype)
    result = kseg_ops.numpy.aspp(x, **block)
    assert result.dtype == x.dtype
    np.testing.assert_array_equal(result, kseg_ops.aspp(x, **block).numpy())
    bare = [branch._replace(scale=None, offset=None) for branch in block["branches"]]
    result = kseg_ops.numpy.aspp(x, bare, block["projection"], block["pooling"])
    np.testing.assert_array_equal(result, kseg_ops.aspp(x, bare, block["projection"], block["pooling"]).numpy())


def raw(**change):
    """The raw op on a block of one dense and one separable branch, with some of its arguments changed."""
    ones = tf.ones
    given = {
        "x": ones([1, 4, 5, 3]),
        "branch_filters": [ones([3, 3, 3, 2]), ones([1, 1, 3, 4])],
        "branch_scales": [ones([2]), ones([4])],
        "branch_offsets": [ones([2]), ones([4])],
        "depthwise": [ones([3, 3, 3, 1])],
        "depthwise_scales": [ones([3])],
        "depthwise_offsets": [ones([3])],
        "pooling_filters": [ones([1, 1, 3, 2])],
        "pooling_scales": [ones([2])],
        "pooling_offsets": [ones([2])],
        "projection": ones([1, 1, 8, 6]),
        "projection_scale": ones([6]),
        "projection_offset": ones([6]),
        "rates": [1, 2, 3, 1],
        "separable": [False, True],
        "activations": ["relu", "linear"],
        "depthwise_activations": ["relu6"],
        "pooling_activation": "relu",
        "projection_activation": "relu",
    }
    return _library.native_op("aspp")(**{**given, **change})


def test_the_op_checks_what_it_gets():
    ones = tf.ones
    assert raw().shape == (1, 4, 5, 6)
    two = [ones([2]), ones([2])]
    for change, message in (
        ({"x": ones([4, 5, 3])}, "x must have rank 4"),
        ({"x": ones([1, 4, 5, 0])}, "x must have at least one channel"),
        ({"branch_filters": [ones([3, 3, 3, 2]), ones([1, 3, 4])]}, "branch_filters must have rank 4"),
        (
            {"branch_filters": [ones([3, 3, 2, 2]), ones([1, 1, 3, 4])]},
            r"branches\[0\].filters must have shape .* C = 3",
        ),
        ({"branch_filters": [ones([3, 3, 3, 2]), ones([3, 1, 3, 4])]}, r"branches\[1\].filters .* \[1, 1, C, F\], got"),
        ({"branch_filters": [ones([0, 3, 3, 2]), ones([1, 1, 3, 4])]}, r"branches\[0\]: filters must have a height in"),
        ({"branch_filters": [ones([3, 3, 3, 0]), ones([1, 1, 3, 4])]}, r"branches\[0\].filters .* F at least 1"),
        ({"branch_scales": two}, r"branches\[1\].scale must have one entry per channel of filters, 4, got 2"),
        ({"branch_offsets": two}, r"branches\[1\].offset must have one entry"),
        ({"branch_scales": [ones([2]), ones([])]}, "branch_scales must have rank 1"),
        ({"depthwise": [ones([3, 3, 3, 2])]}, r"branches\[1\].depthwise must have shape \[kh, kw, C, 1\]"),
        ({"depthwise": [ones([3, 3])]}, "depthwise must have rank 4"),
        ({"depthwise_scales": [ones([2])]}, r"branches\[1\].depthwise_scale must have one entry per channel of x, 3"),
        ({"depthwise_offsets": [ones([3, 1])]}, "depthwise_offsets must have rank 1"),
        ({"pooling_filters": [ones([3, 3, 3, 2])]}, r"pooling.filters must have shape \[1, 1, C, F\]"),
        ({"pooling_scales": [ones([3])]}, "pooling.scale must have one entry"),
        ({"projection": ones([1, 1, 7, 6])}, "projection.filters must have shape .* C = 8"),
        ({"projection": ones([1, 1, 8])}, "projection must have rank 4"),
        ({"projection_offset": ones([5])}, "projection.offset must have one entry"),
        ({"rates": [1, 2, 3]}, "rates must have 4 entries, got 3"),
        ({"rates": [1, 2, 3, 0]}, "rates: rate must be in 1..65536, got 0"),
        ({"separable": [True]}, "separable must have 2 entries, got 1"),
        ({"separable": [True, True]}, "as many branches as there are depthwise filters, 1"),
        ({"activations": ["relu"]}, "activations must have 2 entries, got 1"),
        ({"activations": ["relu", "tanh"]}, "activations must be one of .* got 'tanh'"),
        ({"depthwise_activations": []}, "depthwise_activations must have 1 entries, got 0"),
        ({"pooling_activation": "elu"}, "pooling_activation must be one of"),
        ({"projection_activation": "elu"}, "projection_activation must be one of"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            raw(**change)
    twice = {name: [tf.ones(shape)] * 2 for name, shape in (("pooling_filters", [1, 1, 3, 2]), ("pooling_scales", [2]))}
    with pytest.raises(tf.errors.InvalidArgumentError, match="num_pooling must be 0 or 1, got 2"):
        raw(**twice, pooling_offsets=two)


def test_shape_function_merges_and_refuses():
    with tf.Graph().as_default():
        unknown = tf.compat.v1.placeholder(tf.float32, None)
        assert raw(x=tf.compat.v1.placeholder(tf.float32, [None, None, 5, 3])).shape.as_list() == [None, None, 5, 6]
        assert raw(x=unknown).shape.as_list() == [None, None, None, 6]
        assert raw(projection=unknown).shape.as_list() == [1, 4, 5, 6]
        assert raw(projection=unknown, projection_scale=unknown, projection_offset=unknown).shape[3] is None
        for change, message in (
            ({"x": tf.ones([4, 5, 3])}, "must be rank 4"),
            ({"x": tf.ones([1, 4, 5, 2])}, "must be equal"),
            ({"projection": tf.ones([1, 1, 7, 6])}, "must be equal"),
            ({"branch_scales": [tf.ones([2]), tf.ones([5])]}, "must be equal"),
            ({"depthwise": [tf.ones([3, 3, 3, 2])]}, "must be 1 but is 2"),
            ({"depthwise_scales": [tf.ones([4])]}, "must be equal"),
            ({"rates": [1]}, "rates must have 4 entries, got 1"),
        ):
            with pytest.raises(ValueError, match=message):
                raw(**change)


def test_the_numpy_form_checks_what_it_gets():
    block, x = random_block(4), random_map(4)
    first, *rest = block["branches"]
    for change, error, message in (
        ({"x": x.astype(np.int32)}, TypeError, "x must be one of float32, float16, bfloat16, got int32"),
        ({"branches": []}, ValueError, "branches must hold at least one branch"),
        ({"branches": rest}, ValueError, r"projection.filters must have shape .* C = 13"),
        (
            {"branches": [first._replace(filters=first.filters.astype(np.float16)), *rest]},
            TypeError,
            r"branches\[0\].filters must be float32, got float16",
        ),
        (
            {"branches": [first._replace(scale=np.ones(7)), *rest]},
            ValueError,
            r"branches\[0\].scale must have one entry per channel of filters, 3, got 7",
        ),
        ({"branches": [first._replace(rate=-1), *rest]}, ValueError, "rate must be in 1..65536, got -1"),
        ({"pooling": rest[0]}, ValueError, r"pooling.filters must have shape \[1, 1, C, F\]"),
    ):
        with pytest.raises(error, match=message):
            kseg_ops.numpy.aspp(**{"x": x, **block, **change})


def test_the_module_checks_the_rate_of_a_separable_branch_before_it_multiplies():
    ones, one = np.ones((1, 1, 1, 1), np.float32), np.ones(1, np.float32)
    separable = (ones, one, one, "linear", (1, 2**63 - 1), (np.ones((3, 3, 1, 1), np.float32), one, one, "linear"))
    with pytest.raises(ValueError, match=r"branches\[0\]: rate must be in 1..65536, got 9223372036854775807"):
        _library.core().aspp(ones, [separable], (ones, one, one, "linear", (1, 1), None))
