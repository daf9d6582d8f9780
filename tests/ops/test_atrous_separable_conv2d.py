"""Atrous separable convolution in both forms: by hand, against its definition, gradients, limits, errors."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from tests.helpers.atrous_cases import (
    ACTIVATE,
    CASES,
    EPS,
    call_reference,
    gradients,
    random_separable,
    separable,
    separable_bound,
)

reference = call_reference("atrous_separable_conv2d")


@pytest.fixture(params=["as chosen", "reference"])
def convolution(request):
    return reference if request.param == "reference" else kseg_ops.atrous_separable_conv2d


def call(convolution, x, weights, rate, padding="same", first=None, last=None):
    depthwise, pointwise, scale1, offset1, scale2, offset2 = weights
    return convolution(
        x,
        depthwise,
        pointwise,
        rate,
        scale1,
        offset1,
        first,
        scale=scale2,
        offset=offset2,
        activation=last,
        padding=padding,
    )


def test_by_hand(convolution):
    x = np.array([1, -2, 3, 4], np.float32).reshape(1, 1, 4, 1)
    depthwise = np.array([1, 0, 1], np.float32).reshape(1, 3, 1, 1)  # x[-2] + x[+2] at rate 2: 3, 4, 1, -2
    pointwise = np.array([1, 10], np.float32).reshape(1, 1, 1, 2)
    result = convolution(
        x,
        depthwise,
        pointwise,
        2,
        depthwise_scale=[2.0],
        depthwise_offset=[-1.0],
        depthwise_activation="relu",  # 5, 7, 1, 0
        scale=[1.0, -1.0],
        offset=[0.0, 65.0],
        activation="relu6",
    )
    np.testing.assert_array_equal(result[0, 0], [[5, 6], [6, 0], [1, 6], [0, 6]])


def test_bias_is_an_offset(convolution):
    x, (depthwise, pointwise, *_, bias) = random_separable(CASES[0], 5)
    np.testing.assert_array_equal(
        convolution(x, depthwise, pointwise, bias=bias), convolution(x, depthwise, pointwise, offset=bias)
    )
    with pytest.raises(ValueError, match="bias stands alone: beside scale or offset, give what is added as offset"):
        convolution(x, depthwise, pointwise, bias=bias, scale=bias)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_the_definition(convolution, case, dtype):
    rate, padding = case[3:]
    for filters, first, last in ((1, None, None), (37, "relu", "relu6")):
        x, weights = random_separable(case, filters)
        x, *weights = (array.astype(dtype) for array in (x, *weights))
        result = call(convolution, x, weights, rate, padding, first, last)
        assert result.dtype == dtype
        expected, magnitude = separable(x, weights, rate, padding, first or "linear", last or "linear")
        bound = separable_bound(*weights[:2]) * (np.finfo(dtype).eps / EPS)
        assert np.all(np.abs(result - expected) <= bound * magnitude)


@pytest.mark.parametrize("first", ACTIVATE)
@pytest.mark.parametrize("last", ACTIVATE)
def test_activations(convolution, first, last):
    x, weights = random_separable(CASES[0], 6)
    x = 4 * x  # beyond the corners at -3, 3 and 6
    expected, magnitude = separable(x, weights, (2, 3), "same", first, last)
    result = call(convolution, x, weights, (2, 3), "same", first, last)
    assert np.all(np.abs(result - expected) <= separable_bound(*weights[:2]) * magnitude)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_sixteen_bits_round_once(convolution, dtype):
    unit = {tf.float16: 2.0**-11, tf.bfloat16: 2.0**-8}[dtype]
    for case in (CASES[1], CASES[3]):
        x, (depthwise, pointwise, *vectors) = random_separable(case, 35)
        x, depthwise, pointwise = (tf.cast(array, dtype) for array in (x, depthwise, pointwise))
        result = call(convolution, x, [depthwise, pointwise, *vectors], case[3], "same", "relu", "relu")
        assert result.dtype == dtype
        x, *weights = (tf.cast(array, tf.float32).numpy() for array in (x, depthwise, pointwise, *vectors))
        exact, magnitude = separable(x, weights, case[3], "same", "relu", "relu")
        limit = unit * np.abs(exact) + 2.0**-25 + 2 * separable_bound(*weights[:2]) * magnitude
        assert np.all(np.abs(tf.cast(result, tf.float32) - exact) <= limit)


@pytest.mark.parametrize("activation", ["linear", "hard_silu"])
def test_gradient_is_numerically_right(activation):
    x, weights = random_separable(((1, 5, 4, 2), (3, 2), 2), 3)
    given = [np.float64(array) for array in (x, *weights)]
    analytic, numeric = tf.test.compute_gradient(
        tf.function(lambda x, *weights: call(kseg_ops.atrous_separable_conv2d, x, weights, 2, "same", activation)),
        given,
        2**-14,
    )
    for ours, theirs in zip(analytic, numeric, strict=True):
        # Linear in each argument but for hard SiLU, whose second derivative is 1/3: the central difference is exact
        # but for rounding, of results below 64, and but for the few values within the step of a corner (none here).
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=64 * 2.0**-52 * 2**14 * 8)


@pytest.mark.parametrize("case", [CASES[0], CASES[1], CASES[3], CASES[4], CASES[9]], ids=str)
def test_gradients_equal_those_of_the_definition(convolution, case):
    rate, padding = case[3:]
    x, weights = random_separable(case, 7)
    # Away from the corners of ReLU, where rounding decides: magnitudes stay, derivatives are those of a smooth map.
    first, last = "linear", "linear"
    shape = call(reference, x, weights, rate, padding).shape
    upstream = np.random.default_rng(5).uniform(-1, 1, shape).astype(np.float32)
    given = gradients(lambda *a: call(convolution, a[0], a[1:], rate, padding, first, last), (x, *weights), upstream)
    exact, magnitudes = (
        gradients(
            lambda *a: call(reference, a[0], a[1:], rate, padding, first, last),
            [np.float64(array) for array in arrays[:-1]],
            arrays[-1],
        )
        for arrays in ((x, *weights, upstream), tuple(abs(array) for array in (x, *weights, upstream)))
    )
    pixels = upstream[..., 0].size
    # The longest chain: a sum over pixels of products of a sum over channels and one over taps.
    terms = pixels + weights[1].shape[2] + weights[1].shape[3] + weights[0][..., 0, :].size + 12
    for ours, theirs, magnitude in zip(given, exact, magnitudes, strict=True):
        assert np.all(np.abs(ours - theirs) <= terms * EPS * magnitude)


@pytest.mark.parametrize(
    ("first", "last"),
    [("relu", "relu"), ("relu6", "hard_sigmoid"), ("hard_sigmoid", "hard_silu"), ("hard_silu", "relu6")],
)
def test_gradients_through_activations(convolution, first, last):
    x, weights = random_separable(CASES[0], 5)
    x = 4 * x  # beyond the corners at -3, 3 and 6
    upstream = np.random.default_rng(2).uniform(-1, 1, (*x.shape[:3], 5)).astype(np.float32)
    given = gradients(lambda *a: call(convolution, a[0], a[1:], 2, "same", first, last), (x, *weights), upstream)
    exact = gradients(
        lambda *a: call(reference, a[0], a[1:], 2, "same", first, last),
        [np.float64(array) for array in (x, *weights)],
        upstream,
    )
    for ours, theirs in zip(given, exact, strict=True):
        # Sums of at most 63 pixels times 27 products of values below 4 * 9.
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=63 * 27 * 36 * EPS)


@pytest.mark.parametrize("last", ["relu", "relu6"])
def test_gradients_of_sixteen_bits(convolution, last):
    x, (depthwise, pointwise, *vectors) = random_separable(CASES[0], 5)
    given = [*(tf.cast(array, tf.bfloat16) for array in (x, depthwise, pointwise)), *vectors]
    upstream = np.random.default_rng(2).uniform(-1, 1, (*x.shape[:3], 5)).astype(np.float32)
    found = gradients(lambda *a: call(convolution, a[0], a[1:], 2, "same", "relu", last), given, upstream)
    exact = gradients(
        lambda *a: call(reference, a[0], a[1:], 2, "same", "relu", last),
        [tf.cast(array, tf.float64) for array in given],
        tf.cast(tf.cast(upstream, tf.bfloat16), tf.float64),
    )
    for ours, theirs in zip(found, exact, strict=True):
        # Sums in float32 as before, rounded once to the eight bits of bfloat16; vectors and theirs stay float32.
        unit = 2.0**-8 if ours.dtype != np.float32 else 0
        assert np.all(np.abs(ours.astype(np.float64) - theirs) <= unit * np.abs(theirs) + 63 * 27 * 9 * EPS)


def test_missing_vectors_have_no_gradient_and_cost_none(convolution):
    x, (depthwise, pointwise, *_, offset) = random_separable(CASES[0], 5)
    offset = tf.constant(offset)
    with tf.GradientTape() as tape:
        tape.watch(offset)
        result = convolution(x, depthwise, pointwise, 2, offset=offset)
    np.testing.assert_allclose(tape.gradient(result, offset), np.full(5, x[..., 0].size), rtol=0)


def test_empty_inputs(convolution):
    weights = np.ones((3, 3, 2, 1), np.float32), np.ones((1, 1, 2, 4), np.float32)
    for shape in ((0, 5, 5, 2), (1, 0, 5, 2)):
        x = np.ones(shape, np.float32)
        result = convolution(x, *weights, 2)
        assert result.shape == (*shape[:3], 4)
        for array, gradient in zip(
            (x, *weights), gradients(lambda *a: convolution(*a, 2), (x, *weights), np.ones(result.shape)), strict=True
        ):
            np.testing.assert_array_equal(gradient, np.zeros_like(array))
    assert convolution(np.ones((1, 5, 5, 2), np.float32), weights[0], weights[1][..., :0]).shape == (1, 5, 5, 0)


def test_nan_stays_nan(convolution):
    x = np.zeros((1, 5, 5, 2), np.float32)
    x[0, 2, 2, 1] = np.nan
    weights = np.ones((3, 3, 2, 1), np.float32), np.ones((1, 1, 2, 3), np.float32)
    for activation in ("relu", "relu6", "hard_silu"):
        result = convolution(x, *weights, 2, depthwise_activation=activation, activation=activation).numpy()
        expected = np.zeros((5, 5), bool)
        expected[::2, ::2] = True
        np.testing.assert_array_equal(np.isnan(result[0]), np.repeat(expected[..., None], 3, -1))


def test_static_shapes(convolution):
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 9, None, 4]),
            tf.TensorSpec([3, 3, 4, 2]),
            tf.TensorSpec([1, 1, 8, 5]),
            tf.TensorSpec([None]),
        ]
    )
    def check(x, depthwise, pointwise, scale):
        assert convolution(x, depthwise, pointwise, 2, scale=scale).shape.as_list() == [None, 9, None, 5]
        return convolution(x, depthwise, pointwise, (2, 1), padding="valid")

    result = check(tf.zeros([1, 9, 5, 4]), tf.zeros([3, 3, 4, 2]), tf.zeros([1, 1, 8, 5]), tf.zeros([5]))
    assert result.shape == (1, 5, 3, 5)


@pytest.mark.parametrize("name", ["depthwise_scale", "depthwise_offset", "scale", "offset"])
@pytest.mark.parametrize("shape", [None, [None]])
def test_vectors_known_only_at_run_time(convolution, name, shape):
    x = np.ones((1, 4, 4, 2), np.float32)
    weights = np.ones((3, 3, 2, 1), np.float32), np.ones((1, 1, 2, 2), np.float32)
    signature = [tf.TensorSpec(sizes) for sizes in ([None] * 4, [3, 3, 2, 1], [1, 1, None, None], shape)]
    unknown = tf.function(
        lambda x, depthwise, pointwise, vector: convolution(x, depthwise, pointwise, 2, **{name: vector}),
        input_signature=signature,
    )
    vector = np.float32([3, -2])
    np.testing.assert_array_equal(unknown(x, *weights, vector), convolution(x, *weights, 2, **{name: vector}))
    for wrong in (vector[:0], vector[:1], np.ones(3, np.float32)):
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"{name} must have one entry per channel"):
            unknown(x, *weights, wrong)


def test_reference_compiles_with_xla():
    x, weights = random_separable(CASES[0], 5)
    compiled = tf.function(lambda x, *weights: call(reference, x, weights, (2, 3), last="relu"), jit_compile=True)
    _, magnitude = separable(x, weights, (2, 3), "same", "linear", "relu")
    difference = np.abs(compiled(x, *weights) - call(reference, x, weights, (2, 3), last="relu"))
    assert np.all(difference <= 2 * separable_bound(*weights[:2]) * magnitude)


def test_works_in_tf_data(convolution):
    weights = tf.ones([3, 3, 2, 1]), tf.ones([1, 1, 2, 3])
    data = tf.data.Dataset.from_tensors(tf.ones([1, 4, 4, 2])).map(lambda x: convolution(x, *weights, 3))
    assert next(iter(data)).shape == (1, 4, 4, 3)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"rate": 70000}, ValueError, r"rate must be in 1..65536, got 70000"),
        ({"padding": 3}, ValueError, 'padding must be "same" or "valid", got 3'),
        ({"activation": "gelu"}, ValueError, "activation must be None or one of linear, relu, .* got 'gelu'"),
        ({"depthwise_activation": tf.nn.relu}, ValueError, "depthwise_activation must be None or one of"),
        ({"x": np.ones((1, 4, 4, 2), np.uint8)}, TypeError, "x must be float32, .* got uint8"),
        ({"x": np.ones((1, 4, 4, 0), np.float32)}, ValueError, "with C = 0 as x has|at least one channel"),
        ({"depthwise": np.ones((3, 3, 4, 1), np.float32)}, ValueError, "depthwise must have shape .* with C = 2"),
        ({"depthwise": np.ones((3, 3, 2, 0), np.float32)}, ValueError, "with m of at least 1"),
        ({"pointwise": np.ones((2, 5), np.float32)}, ValueError, r"pointwise must have shape \[1, 1, C \* m, F\], got"),
        ({"pointwise": np.ones((1, 1, 3, 5), np.float32)}, ValueError, r"with C \* m = 2 as depthwise has"),
        ({"pointwise": np.ones((1, 1, 2, 5))}, TypeError, "pointwise must have the dtype of x, float32, got float64"),
        ({"scale": np.ones(4, np.float32)}, ValueError, "scale must have one entry per channel, 5, got 4"),
        ({"depthwise_offset": np.ones((1, 2), np.float32)}, ValueError, r"depthwise_offset must have shape \[C \* m\]"),
        ({"offset": np.ones(5, np.int32)}, TypeError, "offset must be of floating point, got int32"),
    ],
)
def test_errors(convolution, change, error, message):
    given = {
        "x": np.ones((1, 4, 4, 2), np.float32),
        "depthwise": np.ones((3, 3, 2, 1), np.float32),
        "pointwise": np.ones((1, 1, 2, 5), np.float32),
    }
    with pytest.raises(error, match=message):
        convolution(**{**given, **change})


def test_a_keras_tensor_is_refused():
    with pytest.raises(TypeError, match=r"x is a KerasTensor.*kseg.layers.AtrousSeparableConv2D"):
        kseg_ops.atrous_separable_conv2d(keras.Input((4, 4, 2)), tf.ones([3, 3, 2, 1]), tf.ones([1, 1, 2, 1]))
