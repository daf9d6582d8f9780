"""Depthwise atrous convolution in both forms: by hand, against its definition, gradients, limits, errors."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from tests.helpers.atrous_cases import CASES, EPS, call_reference, convolve, gradients, random_depthwise

reference = call_reference("depthwise_atrous_conv2d")


@pytest.fixture(params=["as chosen", "reference"])
def convolution(request):
    return reference if request.param == "reference" else kseg_ops.depthwise_atrous_conv2d


def test_taps_are_rate_pixels_apart(convolution):
    x = np.zeros((1, 5, 7, 1), np.float32)
    x[0, 2, 3] = 1
    filters = np.arange(1, 10, dtype=np.float32).reshape(3, 3, 1, 1)
    result = convolution(x, filters, (1, 2)).numpy()[0, :, :, 0]
    expected = np.zeros((5, 7))
    # An impulse shows the filter turned round.
    expected[1:4, 1:6:2] = [[9, 8, 7], [6, 5, 4], [3, 2, 1]]
    np.testing.assert_array_equal(result, expected)


def test_even_kernels_pad_as_tensorflow_does(convolution):
    x = np.arange(1, 6, dtype=np.float32).reshape(1, 1, 5, 1)
    # Reach 3, of which one pixel lies before: taps at x - 1 and x + 2.
    result = convolution(x, np.array([1, 10], np.float32).reshape(1, 2, 1, 1), 3).numpy().ravel()
    np.testing.assert_array_equal(result, [30, 41, 52, 3, 4])


def test_a_rate_beyond_the_map_leaves_the_centre(convolution):
    x, filters = random_depthwise(((1, 4, 5, 3), (3, 3), 1))
    for rate in (5, 9, 65536):
        np.testing.assert_array_equal(convolution(x, filters, rate), x * filters[1, 1, :, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_the_definition(convolution, case, dtype):
    x, filters = random_depthwise(case, dtype=dtype)
    rate, padding = case[3:]
    result = convolution(x, filters, rate, padding)
    assert result.dtype == dtype
    # Each product and each sum rounds once; values are within -1..1.
    bound = (filters.shape[0] * filters.shape[1] + 1) * np.finfo(dtype).eps
    magnitude = convolve(np.abs(x), np.abs(filters), rate, padding)
    assert np.all(np.abs(result - convolve(x, filters, rate, padding)) <= bound * magnitude)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_sixteen_bits_round_once(convolution, dtype):
    unit = {tf.float16: 2.0**-11, tf.bfloat16: 2.0**-8}[dtype]
    for case in (CASES[1], CASES[3]):
        x, filters = (tf.cast(array, dtype) for array in random_depthwise(case))
        result = convolution(x, filters, *case[3:])
        assert result.dtype == dtype
        exact = convolve(tf.cast(x, tf.float32), tf.cast(filters, tf.float32), *case[3:])
        # One rounding of a float32 sum of at most nine products below 1; float16 has steps of 2**-24 at 0.
        limit = unit * np.abs(exact) + 2.0**-25 + 100 * EPS
        assert np.all(np.abs(tf.cast(result, tf.float32) - exact) <= limit)


@pytest.mark.parametrize("case", [CASES[0], CASES[3], CASES[5], CASES[11]], ids=str)
def test_gradient_is_numerically_right(case):
    shape, kernel, multiplier, rate, padding = case
    case = ((1, *shape[1:3], 2), kernel, multiplier)
    x, filters = random_depthwise(case, dtype=np.float64)
    analytic, numeric = tf.test.compute_gradient(
        tf.function(lambda x, filters: kseg_ops.depthwise_atrous_conv2d(x, filters, rate, padding)), [x, filters], 2**-8
    )
    # Linear in each argument: a difference quotient has no error but rounding, of sums of at most 49 products.
    for ours, theirs in zip(analytic, numeric, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2 * 50 * 2.0**-52 * 2**8 * 9)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_equal_those_of_the_definition(convolution, case):
    x, filters = random_depthwise(case)
    rate, padding = case[3:]
    upstream = np.random.default_rng(5).uniform(-1, 1, convolve(x, filters, rate, padding).shape)
    given = gradients(lambda *args: convolution(*args, rate, padding), (x, filters), upstream)
    exact, magnitudes = (
        gradients(lambda *args: reference(*args, rate, padding), [np.float64(a) for a in arrays[:2]], arrays[2])
        for arrays in ((x, filters, upstream), (abs(x), abs(filters), abs(upstream)))
    )
    # The gradient of x sums taps times multiplier products, that of the filters one per output pixel; the upstream
    # gradient is rounded to float32 before.
    terms = (filters[..., 0, :].size + 2, upstream[..., 0].size + 2)
    for ours, theirs, magnitude, count in zip(given, exact, magnitudes, terms, strict=True):
        assert np.all(np.abs(ours - theirs) <= count * EPS * magnitude)


def test_gradients_keep_their_dtype(convolution):
    x, filters = (tf.cast(array, tf.bfloat16) for array in random_depthwise(CASES[0]))
    with tf.GradientTape() as tape:
        tape.watch([x, filters])
        result = convolution(x, filters, 2)
    assert [gradient.dtype for gradient in tape.gradient(result, [x, filters])] == [tf.bfloat16, tf.bfloat16]


@pytest.mark.parametrize(
    ("shape", "filters"),
    [
        ((0, 5, 5, 2), (3, 3, 2, 2)),
        ((1, 0, 5, 2), (3, 3, 2, 1)),
        ((1, 5, 5, 0), (3, 3, 0, 2)),
        ((1, 5, 5, 2), (3, 3, 2, 0)),
    ],
)
@pytest.mark.parametrize("rate", [1, (2, 3)])
def test_empty_inputs(convolution, shape, filters, rate):
    given = np.ones(shape, np.float32), np.ones(filters, np.float32)
    result = convolution(*given, rate)
    assert result.shape == (*shape[:3], shape[3] * filters[3])
    assert result.numpy().size == 0
    found = gradients(lambda *args: convolution(*args, rate), given, np.ones(result.shape))
    for array, gradient in zip(given, found, strict=True):
        np.testing.assert_array_equal(gradient, np.zeros_like(array))


def test_a_map_as_large_as_the_padding_gives_an_empty_result(convolution):
    filters = tf.ones([3, 3, 2, 1])
    signature = [tf.TensorSpec([None, None, None, 2])]
    unknown = tf.function(lambda x: convolution(x, filters, 2, "valid"), input_signature=signature)
    for rows in (4, 5):
        x = tf.ones([1, rows, 9, 2])
        assert convolution(x, filters, 2, "valid").shape == unknown(x).shape == (1, rows - 4, 5, 2)


def test_an_empty_batch_of_unknown_size(convolution):
    traced = tf.function(convolution, input_signature=[tf.TensorSpec([None, 5, 5, 2]), tf.TensorSpec([3, 3, 2, 1])])
    assert traced(tf.zeros([0, 5, 5, 2]), tf.zeros([3, 3, 2, 1])).shape == (0, 5, 5, 2)


def test_nan_stays_near_its_taps(convolution):
    x = np.ones((1, 9, 9, 1), np.float32)
    x[0, 4, 4] = np.nan
    result = convolution(x, np.ones((3, 3, 1, 1), np.float32), 2).numpy()[0, :, :, 0]
    expected = np.zeros((9, 9), bool)
    expected[2:7:2, 2:7:2] = True
    np.testing.assert_array_equal(np.isnan(result), expected)


def test_static_shapes(convolution):
    @tf.function(input_signature=[tf.TensorSpec([None, 9, None, 4]), tf.TensorSpec([3, 3, 4, 2]), tf.TensorSpec(None)])
    def check(x, filters, anything):
        assert convolution(x, filters, 2).shape.as_list() == [None, 9, None, 8]
        assert convolution(x, filters, (2, 1), "valid").shape.as_list() == [None, 5, None, 8]
        return convolution(anything, filters, 2)

    assert check(tf.zeros([1, 9, 5, 4]), tf.zeros([3, 3, 4, 2]), tf.zeros([1, 2, 3, 4])).shape == (1, 2, 3, 8)


def test_reference_compiles_with_xla():
    x, filters = random_depthwise(CASES[0])
    compiled = tf.function(lambda x, filters: reference(x, filters, (2, 3)), jit_compile=True)
    # The same products; only the order of at most nine sums may differ.
    np.testing.assert_allclose(compiled(x, filters), reference(x, filters, (2, 3)), rtol=0, atol=2 * 10 * 9 * EPS)


def test_works_in_tf_data(convolution):
    filters = tf.ones([3, 3, 2, 1])
    data = tf.data.Dataset.from_tensors(tf.ones([1, 4, 4, 2])).map(lambda x: convolution(x, filters, 3))
    assert next(iter(data)).shape == (1, 4, 4, 2)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"rate": 0}, ValueError, r"rate must be in 1..65536, got 0"),
        ({"rate": (1, 2, 3)}, ValueError, r"rate must be an int or \(rows, columns\), got \(1, 2, 3\)"),
        ({"rate": 1.5}, TypeError, "rate must be an integer, got 1.5"),
        ({"padding": "full"}, ValueError, 'padding must be "same" or "valid", got \'full\''),
        ({"x": np.ones((4, 4, 2), np.float32)}, ValueError, r"x must have shape \[B, H, W, C\], got \(4, 4, 2\)"),
        (
            {"x": np.ones((1, 4, 4, 2), np.int32)},
            TypeError,
            "x must be float32, float16, bfloat16 or float64, got int32",
        ),
        ({"x": np.ones((1, 4, 4, 2))}, TypeError, "filters must have the dtype of x, float64, got float32"),
        ({"filters": np.ones((3, 3, 2), np.float32)}, ValueError, r"filters must have shape \[kh, kw, C, m\], got"),
        ({"filters": np.ones((3, 3, 3, 1), np.float32)}, ValueError, "with C = 2 as x has, got"),
        ({"filters": np.ones((0, 3, 2, 1), np.float32)}, ValueError, "filters must have 1..64 rows and columns"),
        (
            {"padding": "valid"},
            ValueError,
            "x must have at least 6 rows for padding 'valid' with 3 taps 3 apart, got 4",
        ),
    ],
)
def test_errors(convolution, change, error, message):
    given = {"x": np.ones((1, 4, 4, 2), np.float32), "filters": np.ones((3, 3, 2, 1), np.float32), "rate": 3}
    with pytest.raises(error, match=message):
        convolution(**{**given, **change})


def test_a_keras_tensor_is_refused():
    with pytest.raises(TypeError, match=r"x is a KerasTensor.*keras.layers.DepthwiseConv2D"):
        kseg_ops.depthwise_atrous_conv2d(keras.Input((4, 4, 2)), tf.ones([3, 3, 2, 1]))


def test_the_reference_says_that_it_needs_the_shape_of_the_filters():
    signature = [tf.TensorSpec([None] * 4), tf.TensorSpec([3, 3, None, None])]

    def convolve(x, filters):
        with kseg_ops.use_reference():
            return kseg_ops.depthwise_atrous_conv2d(x, filters, 6)

    with pytest.raises(ValueError, match=r"filters must have a known shape .* got \(3, 3, None, None\)"):
        tf.function(convolve, input_signature=signature).get_concrete_function()
    signature[0] = tf.TensorSpec([None, None, None, 2])  # the channels are those of x, the multiplier is not
    signature[1] = tf.TensorSpec([3, 3, None, 1])
    result = tf.function(convolve, input_signature=signature)(tf.ones([1, 5, 5, 2]), tf.ones([3, 3, 2, 1]))
    np.testing.assert_array_equal(result, tf.ones([1, 5, 5, 2]))
