"""max_unpool2d: by hand, by definition, PyTorch, and native against reference."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
import kseg_ops.numpy
from kseg_ops import _library
from tests.helpers.max_pool_cases import (
    CORE,
    FLOATS,
    TORCH_CASES,
    golden,
    gradient_of,
    in_both_forms,
    needs_native,
    random_maps,
    wide,
)

unpool = in_both_forms("max_unpool2d")
NATIVE = _library.native_op("max_unpool2d")


def reference(*args):
    with kseg_ops.use_reference():
        return kseg_ops.max_unpool2d(*args)


def random_case(batch, rows, columns, channels, size, seed=0):
    """Values and places anywhere, with many that are named several times."""
    generator = np.random.default_rng(seed)
    shape = (batch, rows, columns, channels)
    return random_maps(*shape, seed=seed), generator.integers(0, size[0] * size[1], shape).astype(np.int32)


def scalar_unpool(y, indices, size):
    """The definition, and which value counts at each place."""
    x = np.zeros((y.shape[0], size[0] * size[1], y.shape[3]), y.dtype)
    winner = np.full(x.shape, -1)
    for number, (b, i, j, c) in enumerate(np.ndindex(y.shape)):
        x[b, indices[b, i, j, c], c] = y[b, i, j, c]
        winner[b, indices[b, i, j, c], c] = number
    return x.reshape(y.shape[0], *size, y.shape[3]), winner


def test_by_hand(unpool):
    y = np.array([[1, 2], [3, 4]], np.float32)[None, :, :, None]
    places = np.array([[4, 0], [5, 4]])[None, :, :, None]
    expected = [[2, 0, 0], [0, 4, 3]]  # 1 is replaced: its place is named again later
    np.testing.assert_array_equal(unpool(y, places, (2, 3))[0, :, :, 0], expected)
    upstream = np.arange(6, dtype=np.float32).reshape(1, 2, 3, 1)
    gradient = gradient_of(lambda y: unpool(y, places, (2, 3)), y, upstream)
    np.testing.assert_array_equal(gradient[0, :, :, 0], [[0, 0], [5, 4]])


def test_undoes_pooling_with_overlapping_windows(unpool):
    x = np.random.default_rng(0).permutation(2 * 7 * 6 * 3).reshape(2, 7, 6, 3).astype(np.float32) + 1
    y, indices = kseg_ops.max_pool_with_indices(x, 3, 1)
    unpooled = unpool(y, indices, (7, 6)).numpy()
    kept = unpooled != 0
    np.testing.assert_array_equal(unpooled[kept], x[kept])
    assert set(np.asarray(y).ravel()) == set(unpooled[kept])


@pytest.mark.parametrize(("_window", "_stride", "_padding", "name"), TORCH_CASES)
def test_equals_pytorch(unpool, _window, _stride, _padding, name):
    theirs = golden()
    x = unpool(theirs[f"y_{name}"], theirs[f"indices_{name}"], (13, 10))
    np.testing.assert_array_equal(x, theirs[f"unpooled_{name}"])


@pytest.mark.parametrize(
    "case", [(1, 1, 1, 1, (1, 1)), (2, 3, 4, 5, (6, 7)), (3, 4, 1, 17, (2, 3)), (1, 9, 9, 2, (50, 3))]
)
def test_equals_the_definition(unpool, case):
    y, indices = random_case(*case)
    expected, winner = scalar_unpool(y, indices, case[-1])
    np.testing.assert_array_equal(unpool(y, indices, case[-1]), expected)
    np.testing.assert_array_equal(unpool(y, indices.astype(np.int64), tf.constant(case[-1])), expected)
    upstream = random_maps(*expected.shape, seed=7, special=False)
    gradient = gradient_of(lambda y: unpool(y, indices, case[-1]), y, upstream)
    answer = np.zeros(y.size, np.float32)
    flat = upstream.reshape(winner.shape)
    answer[winner[winner >= 0]] = flat[winner >= 0]
    np.testing.assert_array_equal(gradient, answer.reshape(y.shape))


@needs_native
@pytest.mark.parametrize("dtype", FLOATS)
def test_native_equals_reference_on_every_instruction_set(target, dtype):
    for channels in (1, 7, 33):
        y, indices = random_case(2, 13, 12, channels, (29, 27), channels)
        y = tf.cast(y, dtype)
        results = [f(y, indices, (29, 27)) for f in (kseg_ops.max_unpool2d, reference)]
        assert results[0].dtype == results[1].dtype == dtype
        np.testing.assert_array_equal(*map(wide, results))
        upstream = random_maps(*results[0].shape, seed=1)
        gradient = unpooling_gradient(y, upstream, indices)
        with kseg_ops.use_reference():
            np.testing.assert_array_equal(gradient, unpooling_gradient(y, upstream, indices))


def unpooling_gradient(y, upstream, indices):
    return wide(gradient_of(lambda y: kseg_ops.max_unpool2d(y, indices, (29, 27)), y, upstream))


def test_gradient_is_that_of_finite_differences(unpool):
    y, indices = random_case(1, 4, 3, 2, (5, 4))
    y = np.random.default_rng(1).normal(size=y.shape)
    upstream = np.random.default_rng(2).normal(size=(1, 5, 4, 2))
    gradient = gradient_of(lambda y: unpool(y, indices, (5, 4)), y, upstream)
    for place in np.ndindex(y.shape):
        moved = y.copy()
        moved[place] += 1  # the op is linear
        change = np.sum((scalar_unpool(moved, indices, (5, 4))[0] - scalar_unpool(y, indices, (5, 4))[0]) * upstream)
        # 40 products of about 4, each rounded, and as many additions.
        np.testing.assert_allclose(gradient[place], change, rtol=0, atol=40 * 2 * 4 * np.finfo(np.float64).eps)


@needs_native
def test_same_for_any_number_of_threads():
    y, indices = random_case(2, 40, 30, 40, (80, 60))  # several bands of rows
    results = []
    try:
        for threads in (1, 2, 3, 7):
            CORE.set_num_threads(threads)
            x = CORE.max_unpool2d(y, indices, (80, 60))
            results.append([x.tobytes(), CORE.max_unpool2d_grad(x, indices).tobytes()])
    finally:
        CORE.set_num_threads(0)
    assert all(result == results[0] for result in results)
    assert results[0][0] == scalar_unpool(y, indices, (80, 60))[0].tobytes()


@needs_native
def test_a_native_forward_can_have_a_reference_backward():
    y, indices = (tf.constant(array) for array in random_case(1, 4, 4, 3, (5, 5)))
    upstream = random_maps(1, 5, 5, 3, seed=3)
    with tf.GradientTape() as tape:
        tape.watch(y)
        x = kseg_ops.max_unpool2d(y, indices, (5, 5))
    with kseg_ops.use_reference():
        gradient = tape.gradient(x, y, tf.constant(upstream))
    np.testing.assert_array_equal(gradient, gradient_of(lambda y: reference(y, indices, (5, 5)), y, upstream))


@pytest.mark.parametrize("shape", [(0, 3, 4, 2), (2, 0, 4, 2), (2, 3, 0, 2), (2, 3, 4, 0)])
@pytest.mark.parametrize("size", [(0, 0), (0, 5), (4, 5)])
def test_empty(unpool, shape, size):
    y = np.ones(shape, np.float32)
    x = unpool(y, np.zeros(shape, np.int32), size)
    assert x.shape == (shape[0], *size, shape[3])
    assert not np.any(x)
    assert gradient_of(lambda y: unpool(y, np.zeros(shape, np.int32), size), y, np.ones(x.shape)).shape == shape
    if CORE:
        assert kseg_ops.numpy.max_unpool2d(y, np.zeros(shape, np.int32), size).shape == x.shape


@pytest.mark.parametrize("shape", [None, [None] * 4, [2, None, None, 3], [2, 4, 5, 3]])
def test_unknown_shapes(unpool, shape):
    y, indices = random_case(2, 4, 5, 3, (7, 6))
    specs = [tf.TensorSpec(shape, tf.float32), tf.TensorSpec(shape, tf.int32)]
    static = tf.function(lambda y, indices: unpool(y, indices, (7, 6)), input_signature=specs)
    ends = (shape[0], shape[3]) if shape else (None, None)
    assert static.get_concrete_function().output_shapes.as_list() == [ends[0], 7, 6, ends[1]]
    dynamic = tf.function(unpool, input_signature=[*specs, tf.TensorSpec([2], tf.int32)])
    assert dynamic.get_concrete_function().output_shapes.as_list() == [ends[0], None, None, ends[1]]
    expected = reference(y, indices, (7, 6))
    np.testing.assert_array_equal(static(y, indices), expected)
    np.testing.assert_array_equal(dynamic(y, indices, [7, 6]), expected)


def test_the_reference_and_its_gradient_compile_under_xla():
    y, indices = (tf.constant(array) for array in random_case(2, 4, 5, 3, (7, 6)))

    def both(y, indices):
        with kseg_ops.use_reference(), tf.GradientTape() as tape:
            tape.watch(y)
            x = kseg_ops.max_unpool2d(y, indices, (7, 6))
        return x, tape.gradient(x, y)

    for ours, expected in zip(tf.function(both, jit_compile=True)(y, indices), both(y, indices), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_in_a_pipeline(unpool):
    y, indices = random_case(1, 3, 3, 2, (6, 6))
    dataset = tf.data.Dataset.from_tensors((y, indices)).map(lambda y, indices: unpool(y, indices, (6, 6)))
    np.testing.assert_array_equal(next(iter(dataset)), reference(y, indices, (6, 6)))


@pytest.mark.parametrize("index", [-1, 6, 2**31 - 1, -(2**31), 2**40])
def test_an_index_out_of_range_is_named(unpool, index):
    indices = np.zeros((1, 3, 2, 1), np.int64)
    indices[0, 1, 1, 0] = index
    number = min(index, 2**31 - 1)  # saturated
    message = rf"(?s)indices must be in 0\.\.H\*W-1 with H\*W =.*6.*by output_size, got.*{number}"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        unpool(np.ones((1, 3, 2, 1), np.float32), indices, (2, 3))
    if CORE:
        with pytest.raises(ValueError, match=message):
            kseg_ops.numpy.max_unpool2d(np.ones((1, 3, 2, 1), np.float32), indices, (2, 3))


@needs_native
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_the_numpy_form_equals_the_op(dtype):
    y, indices = random_case(2, 5, 4, 3, (9, 8))
    ours = kseg_ops.numpy.max_unpool2d(y.astype(dtype), indices, (9, 8))
    assert ours.dtype == dtype
    np.testing.assert_array_equal(ours, kseg_ops.max_unpool2d(y.astype(dtype), indices, (9, 8)))


Y = np.ones((1, 2, 2, 1), np.float32)
INDICES = np.zeros((1, 2, 2, 1), np.int32)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"y": np.ones((2, 2, 1), np.float32)}, ValueError, "y must have (shape .B, h, w, C., got|rank 4, got rank 3)"),
        ({"y": np.ones((1, 2, 2, 1), int)}, TypeError, "y must be .*float32, float16, bfloat16.*float64, got int64"),
        ({"indices": INDICES[:, :1]}, ValueError, "indices must have the shape of y, .*1, 2, 2, 1.*, got .*1, 1, 2, 1"),
        ({"indices": Y}, TypeError, "indices must be integers, got float32"),
        ({"output_size": 4}, ValueError, r"output_size must be two integers, \(height, width\), got 4"),
        ({"output_size": (4, -1)}, ValueError, r"output_size\[1\] must be in 0..2147483647, got -1"),
        ({"output_size": (4, 2.5)}, TypeError, r"output_size\[1\] must be an integer, got 2.5"),
        ({"output_size": (2**16, 2**16)}, ValueError, r"output_size must have fewer than 2\*\*31 pixels, got 65536 x"),
    ],
)
def test_bad_arguments(change, error, message):
    for module in (kseg_ops, kseg_ops.numpy) if CORE else (kseg_ops,):
        with pytest.raises(error, match=message):
            module.max_unpool2d(**{"y": Y, "indices": INDICES, "output_size": (4, 4), **change})


def test_bad_sizes_that_are_tensors(unpool):
    with pytest.raises(TypeError, match="output_size must be of an integer type, got dtype float32"):
        unpool(Y, INDICES, tf.constant([4.0, 4.0]))
    with pytest.raises(ValueError, match=r"output_size must have shape \[2\].*got shape \(1,\)"):
        unpool(Y, INDICES, tf.constant([4]))
    for size in ([-1, 4], [2**16, 2**16], [2**40, 1]):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="output_size must not be negative and must have fewer"
        ):
            unpool(Y, INDICES, tf.constant(size, tf.int64))
    np.testing.assert_array_equal(unpool(Y, INDICES, (tf.constant(2), 3)), unpool(Y, INDICES, (2, 3)))


def test_keras_tensors_are_refused():
    with pytest.raises(TypeError, match=r"y is a KerasTensor.*kseg.layers.MaxUnpooling2D"):
        kseg_ops.max_unpool2d(keras.Input((4, 4, 3)), INDICES, (4, 4))


@needs_native
def test_the_raw_ops_check_what_they_get():
    good = {"y": tf.constant(Y), "indices": tf.constant(INDICES), "output_size": [4, 4]}
    assert NATIVE(**good).shape == (1, 4, 4, 1)
    for wrong, message in (
        ({"y": tf.ones([2, 2, 1])}, "y must have rank 4"),
        ({"indices": tf.zeros([2, 2, 1], tf.int32)}, "indices must have rank 4"),
        ({"indices": tf.zeros([1, 2, 1, 1], tf.int32)}, "indices must have the shape of y"),
        ({"output_size": [4]}, "output_size must have 2 elements"),
        ({"output_size": [[4, 4]]}, "output_size must have rank 1"),
        ({"output_size": [4, -4]}, "output_size must not be negative"),
        ({"output_size": [2**16, 2**16]}, r"must have fewer than 2\*\*31 pixels, got 65536 x 65536"),
        ({"output_size": [0, 4]}, r"indices must be in 0..H\*W-1 with H\*W = 0 by output_size, got 0"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            NATIVE(**{**good, **wrong})
    huge = {"y": tf.zeros([2**30, 0, 1, 2**30]), "indices": tf.zeros([2**30, 0, 1, 2**30], tf.int32)}
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"output_size must give at most 2\*\*59 elements, got 4 x 4"
    ):
        NATIVE(**{**good, **huge})
    grad = _library.native_op("max_unpool2d_grad")
    good = {"x_gradient": tf.ones([1, 4, 4, 1]), "indices": tf.constant(INDICES)}
    assert grad(**good).shape == (1, 2, 2, 1)
    for wrong, message in (
        ({"x_gradient": tf.ones([4, 4, 1])}, "x_gradient must have rank 4"),
        ({"indices": tf.zeros([2, 2, 1], tf.int32)}, "indices must have rank 4"),
        (
            {"x_gradient": tf.ones([2, 4, 4, 1])},
            r"x_gradient must have as many images and channels as indices of shape \[1, 2",
        ),
        ({"indices": tf.fill([1, 2, 2, 1], 16)}, r"indices must be in 0..H\*W-1 with H\*W = 16 by output_size, got 16"),
        ({"x_gradient": tf.ones([1, 0, 4, 1])}, r"with H\*W = 0 by output_size, got 0"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            grad(**{**good, **wrong})
    with pytest.raises(TypeError, match="indices must be int32, got int64"):
        CORE.max_unpool2d(Y, INDICES.astype(np.int64), (4, 4))
    with pytest.raises(ValueError, match=r"indices must be in 0\.\.H"):
        CORE.max_unpool2d_grad(np.ones((1, 1, 1, 1), np.float32), INDICES + 1)
