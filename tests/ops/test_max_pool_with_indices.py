"""max_pool_with_indices: by hand, by definition, PyTorch and stock TensorFlow, and native against reference."""

from __future__ import annotations

import itertools

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
    NATIVE,
    TORCH_CASES,
    golden,
    gradient_of,
    in_both_forms,
    needs_native,
    random_maps,
    scalar_max_pool,
    wide,
)

pool = in_both_forms("max_pool_with_indices")
# Windows that touch, overlap, leave gaps, are longer than the map or a single pixel.
WINDOWS = [((2, 2), (2, 2)), ((3, 2), (1, 2)), ((1, 1), (2, 3)), ((5, 9), (4, 2)), ((1, 4), (3, 1))]
ONES = np.ones((1, 4, 4, 2), np.float32)


def reference(*args):
    with kseg_ops.use_reference():
        return kseg_ops.max_pool_with_indices(*args)


def pooling_gradient(x, upstream, *args):
    return wide(gradient_of(lambda x: kseg_ops.max_pool_with_indices(x, *args), x, upstream))


def test_by_hand(pool):
    nan = np.nan
    x = np.array([[1, 5, 5, 0, 9], [5, 4, 7, 7, 9], [nan, 1, -np.inf, -np.inf, 0], [2, nan, -np.inf, -np.inf, 0]])
    y, indices = pool(x.astype(np.float32)[None, :, :, None])
    np.testing.assert_array_equal(y[0, :, :, 0], [[5, 7], [nan, -np.inf]])
    np.testing.assert_array_equal(indices[0, :, :, 0], [[1, 7], [10, 12]])  # the first of equal ones, in raster order
    y, indices = pool(x.astype(np.float32)[None, :, :, None], padding="same")
    np.testing.assert_array_equal(y[0, :, :, 0], [[5, 7, 9], [nan, -np.inf, 0]])
    np.testing.assert_array_equal(indices[0, :, :, 0], [[1, 7, 4], [10, 12, 14]])
    assert indices.dtype == tf.int32


@pytest.mark.parametrize(("window", "strides"), WINDOWS)
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_equals_the_definition(pool, window, strides, padding):
    for shape in ((1, 1, 1, 1), (2, 7, 6, 3), (1, 5, 9, 17)):
        x = random_maps(*shape)
        for ours, expected in zip(
            pool(x, window, strides, padding), scalar_max_pool(x, window, strides, padding), strict=True
        ):
            np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize(("window", "stride", "padding", "name"), TORCH_CASES)
def test_equals_pytorch(pool, window, stride, padding, name):
    theirs = golden()
    y, indices = pool(theirs["x"], window, stride, padding)
    np.testing.assert_array_equal(y, theirs[f"y_{name}"])
    np.testing.assert_array_equal(indices, theirs[f"indices_{name}"])
    x = np.nan_to_num(theirs["x"], nan=9, neginf=-9)
    upstream = np.arange(y.shape.num_elements(), dtype=np.float32).reshape(np.array(y.shape)[[0, 3, 1, 2]])
    gradient = gradient_of(lambda x: pool(x, window, stride, padding), x, upstream.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(gradient, theirs[f"gradient_{name}"])  # sums of whole numbers


@pytest.mark.parametrize(("window", "strides"), WINDOWS[:3])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_equals_stock_tensorflow_in_its_own_convention(pool, window, strides, padding):
    x = np.random.default_rng(0).permutation(2 * 9 * 8 * 3).astype(np.float32).reshape(2, 9, 8, 3)
    y, indices = pool(x, window, strides, padding)
    theirs = tf.nn.max_pool_with_argmax(x, window, strides, padding.upper())
    np.testing.assert_array_equal(y, theirs[0])
    np.testing.assert_array_equal(indices, theirs[1] // 3)
    np.testing.assert_array_equal(tf.broadcast_to(tf.range(3, dtype=tf.int64), y.shape), theirs[1] % 3)


@needs_native
@pytest.mark.parametrize("dtype", FLOATS)
def test_native_equals_reference_on_every_instruction_set(target, dtype):
    for channels, (window, strides), padding in itertools.product((1, 7, 16, 33), WINDOWS, ("valid", "same")):
        x = tf.cast(random_maps(2, 7, 6, channels), dtype)
        args = (window, strides, padding)
        for ours, expected in zip(kseg_ops.max_pool_with_indices(x, *args), reference(x, *args), strict=True):
            assert ours.dtype == expected.dtype
            np.testing.assert_array_equal(wide(ours), wide(expected))
        upstream = random_maps(*expected.shape, seed=1, special=False)  # whole numbers: their sums are exact
        with kseg_ops.use_reference():
            expected = pooling_gradient(x, upstream, *args)
        np.testing.assert_array_equal(pooling_gradient(x, upstream, *args), expected)


@pytest.mark.parametrize(("window", "strides"), WINDOWS)
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_gradient_is_that_of_finite_differences(pool, window, strides, padding):
    # Values a tenth apart: steps of 1e-3 change no maximum, and the op is linear between changes.
    x = np.random.default_rng(3).permutation(2 * 5 * 4 * 2).reshape(2, 5, 4, 2) / 10
    with tf.device("CPU"):
        upstream = np.random.default_rng(4).normal(size=pool(x, window, strides, padding)[0].shape)
    gradient = gradient_of(lambda x: pool(x, window, strides, padding), x, upstream)
    numeric = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        sums = []
        for step in (1e-3, -1e-3):
            moved = x.copy()
            moved[place] += step
            sums.append(np.sum(scalar_max_pool(moved, window, strides, padding)[0] * upstream))
        numeric[place] = (sums[0] - sums[1]) / 2e-3
    # Sums of up to 40 products of about 8 cancel, and are divided by the step.
    np.testing.assert_allclose(gradient, numeric, rtol=0, atol=40 * 8 * np.finfo(np.float64).eps / 2e-3 * 4)


@needs_native
def test_sixteen_bit_gradients_round_once(target):
    x = np.zeros((1, 4, 4, 40), np.float32)
    x[:, 1:3, 1:3] = 1  # the first of them is in every window
    upstream = np.random.default_rng(5).normal(size=(1, 2, 2, 40)).astype(np.float32)
    for dtype in (tf.float16, tf.bfloat16):
        rounded = tf.cast(upstream, dtype)
        gradient = gradient_of(lambda x: kseg_ops.max_pool_with_indices(x, 3, 1), tf.cast(x, dtype), rounded)
        exact = tf.cast(rounded, tf.float32).numpy()
        total = ((exact[:, 0, 0] + exact[:, 0, 1]) + exact[:, 1, 0]) + exact[:, 1, 1]  # raster order, in float32
        np.testing.assert_array_equal(gradient[:, 1, 1].astype(np.float32), tf.cast(tf.cast(total, dtype), tf.float32))


@needs_native
def test_same_for_any_number_of_threads():
    x, results = np.random.default_rng(6).normal(size=(2, 60, 50, 19)).astype(np.float32), []
    try:
        for threads in (1, 2, 3, 7):
            CORE.set_num_threads(threads)
            y, indices = CORE.max_pool_with_indices(x, (3, 3), (1, 2), "same")
            gradient = CORE.max_pool_with_indices_grad(y, indices, x.shape, (3, 3), (1, 2), "same")
            results.append([array.tobytes() for array in (y, indices, gradient)])
    finally:
        CORE.set_num_threads(0)
    assert all(result == results[0] for result in results)
    expected = gradient_of(lambda x: kseg_ops.max_pool_with_indices(x, 3, (1, 2), "same"), x, y)
    assert expected.tobytes() == results[0][2]


@needs_native
def test_a_native_forward_can_have_a_reference_backward():
    x = tf.constant(random_maps(1, 6, 5, 3, special=False))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y, _ = kseg_ops.max_pool_with_indices(x, 3, 1)
    with kseg_ops.use_reference():
        gradient = tape.gradient(y, x)
    np.testing.assert_array_equal(gradient, gradient_of(lambda x: reference(x, 3, 1), x, np.ones(y.shape)))


@pytest.mark.parametrize("shape", [(0, 3, 4, 2), (2, 0, 4, 2), (2, 3, 0, 2), (2, 3, 4, 0), (2, 1, 1, 2)])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_empty_and_too_small(pool, shape, padding):
    x = np.ones(shape, np.float32)
    y, indices = pool(x, 2, 2, padding)
    sizes = [size // 2 if padding == "valid" else -(-size // 2) for size in shape[1:3]]
    assert y.shape == indices.shape == (shape[0], *sizes, shape[3])
    assert gradient_of(lambda x: pool(x, 2, 2, padding), x, np.ones(y.shape)).shape == shape
    if CORE:
        assert kseg_ops.numpy.max_pool_with_indices(x, padding=padding)[0].shape == y.shape


@pytest.mark.parametrize("shape", [None, [None] * 4, [2, None, None, 3], [2, 7, 6, 3]])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_unknown_shapes(pool, shape, padding):
    x = random_maps(2, 7, 6, 3)
    graph = tf.function(lambda x: pool(x, 3, 2, padding), input_signature=[tf.TensorSpec(shape, tf.float32)])
    sizes = [None, None] if shape is None or shape[1] is None else ([3, 2] if padding == "valid" else [4, 3])
    expected = [shape[0] if shape else None, *sizes, shape[3] if shape else None]
    assert [static.as_list() for static in graph.get_concrete_function().output_shapes] == [expected] * 2
    for ours, answer in zip(graph(x), reference(x, 3, 2, padding), strict=True):
        np.testing.assert_array_equal(ours, answer)


def test_the_reference_and_its_gradient_compile_under_xla():
    x = tf.constant(random_maps(2, 7, 6, 3, special=False))

    def both(x):
        with kseg_ops.use_reference(), tf.GradientTape() as tape:
            tape.watch(x)
            y, indices = kseg_ops.max_pool_with_indices(x, 3, 2, "same")
        return y, indices, tape.gradient(y, x)

    for ours, expected in zip(tf.function(both, jit_compile=True)(x), both(x), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_in_a_pipeline(pool):
    x = random_maps(1, 6, 6, 2)
    result = next(iter(tf.data.Dataset.from_tensors(x).map(pool)))
    np.testing.assert_array_equal(result[1], reference(x)[1])


@needs_native
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_the_numpy_form_equals_the_op(dtype):
    x = random_maps(2, 7, 6, 5).astype(dtype)
    for ours, expected in zip(
        kseg_ops.numpy.max_pool_with_indices(x, (3, 2), padding="same"),
        kseg_ops.max_pool_with_indices(x, (3, 2), padding="same"),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": np.ones((4, 4, 2), np.float32)}, ValueError, "x must have (shape .B, H, W, C., got|rank 4, got rank 3)"),
        ({"x": np.ones((1, 4, 4, 2), int)}, TypeError, "x must be .*float32, float16, bfloat16.*float64, got int64"),
        ({"pool_size": 0}, ValueError, "pool_size must be in 1..1048576, got 0"),
        ({"pool_size": 2.5}, TypeError, "pool_size must be an integer, got 2.5"),
        ({"pool_size": (2, 2, 2)}, ValueError, r"pool_size must be an int or \(height, width\), got \(2, 2, 2\)"),
        ({"strides": (1, -1)}, ValueError, "strides must be in 1..1048576, got -1"),
        ({"strides": 2**70}, ValueError, "strides must be in 1..1048576, got 1180591620717411303424"),
        ({"padding": "SAME"}, ValueError, 'padding must be "same" or "valid", got \'SAME\''),
    ],
)
def test_bad_arguments(change, error, message):
    for module in (kseg_ops, kseg_ops.numpy) if CORE else (kseg_ops,):
        with pytest.raises(error, match=message):
            module.max_pool_with_indices(**{"x": ONES, **change})


def test_keras_tensors_are_refused():
    with pytest.raises(TypeError, match=r"x is a KerasTensor.*kseg.layers.MaxPoolingWithIndices2D"):
        kseg_ops.max_pool_with_indices(keras.Input((4, 4, 3)))


@needs_native
def test_the_raw_ops_check_what_they_get():
    good = {"x": tf.constant(ONES), "pool_size": (2, 2), "strides": (2, 2)}
    for wrong, message in (
        ({"x": tf.ones([4, 4, 2])}, "x must have rank 4|must be rank 4"),
        ({"pool_size": (2,)}, "pool_size and strides must have two entries, got 1 and 2"),
        ({"pool_size": (0, 2)}, "pool_size must be in 1..1048576, got 0"),
        ({"strides": (2, 2**40)}, "strides must be in 1..1048576, got 1099511627776"),
        ({"padding": "full"}, "full"),
        ({"x": tf.ones([0, 2**16, 2**15, 1])}, r"x must have fewer than 2\*\*31 pixels per image"),
    ):
        with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=message):
            NATIVE(**{**good, **wrong})
    grad = _library.native_op("max_pool_with_indices_grad")
    gradient = tf.ones([1, 2, 2, 2])
    good = {
        "y_gradient": gradient,
        "indices": tf.zeros([1, 2, 2, 2], tf.int32),
        "x_shape": [1, 4, 4, 2],
        "pool_size": (2, 2),
        "strides": (2, 2),
    }
    assert grad(**good).shape == grad(**{**good, "x_shape": tf.constant([1, 4, 4, 2], tf.int64)}).shape == (1, 4, 4, 2)
    for wrong, message in (
        ({"y_gradient": tf.ones([2, 2, 2])}, "y_gradient must have rank 4"),
        ({"indices": tf.zeros([2, 2, 2], tf.int32)}, "indices must have rank 4"),
        ({"x_shape": [1, 4, 4]}, "x_shape must have four entries"),
        ({"x_shape": [[1, 4, 4, 2]]}, "x_shape must have rank 1"),
        ({"x_shape": [1, 4, -4, 2]}, r"x_shape must not be negative, got \[1, 4, -4, 2\]"),
        (
            {"x_shape": [1, 6, 4, 2]},
            r"y_gradient and indices must have shape \[1, 3, 2, 2\] for x_shape \[1, 6, 4, 2\]",
        ),
        ({"indices": tf.zeros([1, 2, 1, 2], tf.int32)}, "y_gradient and indices must have shape"),
        ({"x_shape": tf.constant([0, 2**32, 2**32, 1], tf.int64)}, r"x_shape must have fewer than 2\*\*31 pixels"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            grad(**{**good, **wrong})
    # No window, so that the gradient's size does not limit the image's.
    huge = {"y_gradient": tf.zeros([2**30, 0, 1024, 2**30]), "indices": tf.zeros([2**30, 0, 1024, 2**30], tf.int32)}
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"x_shape must have fewer than 2\*\*63 elements"):
        grad(**{**good, **huge, "x_shape": [2**30, 1, 2**30, 2**30], "strides": (1, 2**20), "pool_size": (2, 2**20)})
    # An index that is not in its window names no pixel.
    assert not np.any(grad(**{**good, "indices": tf.fill([1, 2, 2, 2], -7)}))
    assert not np.any(grad(**{**good, "indices": tf.fill([1, 2, 2, 2], 2**31 - 1)}))


@needs_native
def test_the_numpy_module_checks_what_it_gets():
    places = np.zeros((1, 2, 2, 2), np.int32)
    for call, error, message in (
        (
            lambda: CORE.max_pool_with_indices(ONES, (2, 0), (2, 2)),
            ValueError,
            "pool_size must be in 1..1048576, got 0",
        ),
        (lambda: CORE.max_pool_with_indices(ONES, (2, 2), (2, 2), "full"), ValueError, "padding must be 'valid' or"),
        (
            lambda: CORE.max_pool_with_indices_grad(places.astype("f4"), places, (1, 6, 4, 2), (2, 2), (2, 2)),
            ValueError,
            r"y_gradient and indices must have shape \[1, 3, 2, 2\]",
        ),
        (
            lambda: CORE.max_pool_with_indices_grad(places.astype("f4"), places, (1, 4, -4, 2), (2, 2), (2, 2)),
            ValueError,
            "x_shape must not be negative",
        ),
        (
            lambda: CORE.max_pool_with_indices_grad(
                places.astype("f4"), places.astype("i8"), (1, 4, 4, 2), (2, 2), (2, 2)
            ),
            TypeError,
            "indices must be int32, got int64",
        ),
    ):
        with pytest.raises(error, match=message):
            call()
