"""Atrous convolution by hand, against its definition, and at the edges."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from tests.helpers.convolution_cases import (
    EPS,
    activate,
    as_float32,
    defined_convolution,
    native_atrous_conv2d,
    random_convolution,
    reference,
    rounding,
)

ONES = np.ones((1, 4, 5, 3), np.float32)
KERNEL = np.ones((3, 3, 3, 2), np.float32)


@pytest.fixture(params=["native", "reference"])
def conv(request, monkeypatch):
    """`kseg_ops.atrous_conv2d` in either form."""
    return reference(kseg_ops.atrous_conv2d) if request.param == "reference" else native_atrous_conv2d(monkeypatch)


# -- by hand -----------------------------------------------------------------------------------------------------------


def test_a_row_by_hand(conv):
    x = np.array([1, 2, 4, 8, 16], np.float32).reshape(1, 1, 5, 1)
    filters = np.array([1, 10, 100], np.float32).reshape(1, 3, 1, 1)
    np.testing.assert_array_equal(conv(x, filters, 2).numpy().ravel(), [410, 820, 1641, 82, 164])
    np.testing.assert_array_equal(conv(x, filters, 2, padding="valid").numpy().ravel(), [1641])
    np.testing.assert_array_equal(conv(x, filters, 4).numpy().ravel(), [1610, 20, 40, 80, 161])
    # Beyond the map only the middle tap is left.
    np.testing.assert_array_equal(conv(x, filters, 9).numpy().ravel(), [10, 20, 40, 80, 160])


def test_an_even_kernel_pads_more_at_the_end(conv):
    x = np.array([1, 2, 4, 8, 16], np.float32).reshape(1, 1, 5, 1)
    filters = np.array([1, 10], np.float32).reshape(1, 2, 1, 1)
    # Three pixels of padding, one of them in front.
    np.testing.assert_array_equal(conv(x, filters, 3).numpy().ravel(), [40, 81, 162, 4, 8])


def test_rows_and_columns_have_rates_of_their_own(conv):
    x = np.zeros((1, 7, 9, 1), np.float32)
    x[0, 3, 4] = 1
    marks = conv(x, np.ones((3, 3, 1, 1), np.float32), (2, 3)).numpy()[0, ..., 0]
    assert sorted(zip(*np.nonzero(marks), strict=True)) == list(itertools.product((1, 3, 5), (1, 4, 7)))


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (None, [-7, -2, 0, 1, 5, 8]),
        ("linear", [-7, -2, 0, 1, 5, 8]),
        ("relu", [0, 0, 0, 1, 5, 8]),
        ("relu6", [0, 0, 0, 1, 5, 6]),
        ("hard_sigmoid", [0, 1 / 6, 0.5, 4 / 6, 1, 1]),
        ("hard_silu", [0, -2 / 6, 0, 4 / 6, 5, 8]),
    ],
)
def test_scale_offset_and_activation(conv, activation, expected):
    wanted = np.array([-7, -2, 0, 1, 5, 8], np.float32)
    result = conv(
        ((wanted - 1) / 2).reshape(1, 1, 6, 1), np.ones((1, 1, 1, 1), np.float32), 1, None, [2.0], [1.0], activation
    )
    np.testing.assert_allclose(result.numpy().ravel(), np.float32(expected), rtol=4 * EPS)


def test_bias_is_an_offset(conv):
    x, filters, _, offset = random_convolution(0)
    np.testing.assert_array_equal(conv(x, filters, 2, offset), conv(x, filters, 2, offset=offset))


# -- against the definition --------------------------------------------------------------------------------------------

SHAPES = [
    {"size": (7, 5), "rate": (1, 1)},
    {"size": (9, 14), "rate": (2, 3)},
    {"size": (6, 11), "rate": (1, 5), "kernel": (2, 4)},
    {"size": (1, 6), "rate": (3, 1), "kernel": (1, 5), "channels": 1, "outputs": 1},
    {"size": (13, 1), "rate": (2, 2), "kernel": (5, 1), "channels": 17, "outputs": 33},
    {"size": (4, 5), "rate": (12, 18), "channels": 33, "outputs": 40},
    {"size": (4, 5), "rate": (4, 3), "kernel": (1, 1)},
]


@pytest.mark.parametrize("case", SHAPES, ids=str)
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equals_the_definition(conv, case, padding, dtype):
    case = dict(case)
    rate = case.pop("rate")
    kernel = case.get("kernel", (3, 3))
    if padding == "valid":
        case["size"] = tuple(s + (k - 1) * r for s, k, r in zip(case["size"], kernel, rate, strict=True))
    x, filters, scale, offset = random_convolution(1, dtype=np.dtype(dtype).type, **case)
    before = defined_convolution(x, filters, rate, padding) * scale + offset
    bound = rounding(x, filters, scale, offset, rate, padding) * (1 if dtype == "float32" else 2.0**-29)
    for activation in (None, "relu", "hard_silu"):
        result = conv(x, filters, rate, None, scale, offset, activation, padding).numpy()
        assert result.dtype == dtype
        assert np.all(np.abs(result - activate(before, activation)) <= bound + 8 * EPS * (dtype == "float32"))


@pytest.mark.parametrize(("dtype", "unit"), [(tf.float16, 2.0**-11), (tf.bfloat16, 2.0**-8)])
def test_sixteen_bits_round_once(conv, dtype, unit):
    x, filters, scale, offset = random_convolution(2, channels=19, outputs=35)
    x, filters = tf.cast(x, dtype), tf.cast(filters, dtype)
    result = conv(x, filters, (2, 1), None, scale, offset, "relu")
    assert result.dtype == dtype
    x, filters = as_float32(x), as_float32(filters)
    exact = activate(defined_convolution(x, filters, (2, 1)) * scale + offset, "relu")
    bound = rounding(x, filters, scale, offset, (2, 1), "same")
    # Below 2**-14 a float16 is a multiple of 2**-24.
    assert np.all(np.abs(as_float32(result) - exact) <= unit * np.abs(exact) + 2 * bound + 2.0**-25)


# -- extreme input -----------------------------------------------------------------------------------------------------


def test_empty_inputs(conv):
    for shape in ((0, 4, 5, 3), (2, 0, 5, 3), (2, 4, 0, 3)):
        assert conv(np.zeros(shape, np.float32), KERNEL, 2).shape == (*shape[:3], 2)
    assert conv(np.zeros((0, 9, 9, 3), np.float32), KERNEL, 2, padding="valid").shape == (0, 5, 5, 2)
    assert conv(np.zeros((1, 4, 9, 3), np.float32), KERNEL, 2, padding="valid").shape == (1, 0, 5, 2)
    x = np.zeros((0, 4, 5, 3), np.float32)
    for gradient, like in zip(gradients(lambda x, f: conv(x, f, 2), (x, KERNEL), x[..., :2]), (x, KERNEL), strict=True):
        np.testing.assert_array_equal(gradient, np.zeros_like(like))


def test_an_empty_batch_known_at_run_time_only(conv):
    function = tf.function(lambda x: conv(x, KERNEL, 2), input_signature=[tf.TensorSpec([None, None, None, 3])])
    assert function(np.zeros((0, 4, 5, 3), np.float32)).shape == (0, 4, 5, 2)
    assert function(np.zeros((1, 0, 5, 3), np.float32)).shape == (1, 0, 5, 2)


def test_a_map_as_large_as_the_padding_known_at_run_time_only(conv):
    signature = [tf.TensorSpec([None, None, None, 3])]
    function = tf.function(lambda x: conv(x, KERNEL, 2, padding="valid"), input_signature=signature)
    assert function(np.zeros((1, 4, 9, 3), np.float32)).shape == (1, 0, 5, 2)
    assert function(np.zeros((1, 5, 9, 3), np.float32)).shape == (1, 1, 5, 2)


@pytest.mark.parametrize("activation", [None, "relu", "relu6", "hard_sigmoid", "hard_silu"])
def test_a_nan_stays_where_it_is(conv, activation):
    x = np.ones((1, 5, 7, 3), np.float32)
    x[0, 2, 3, 1] = np.nan
    result = conv(x, KERNEL, (1, 2), activation=activation).numpy()
    expected = np.zeros((1, 5, 7, 2), bool)
    expected[0, 1:4, 1:6:2] = True
    np.testing.assert_array_equal(np.isnan(result), expected)


def test_infinite_features(conv):
    x = np.zeros((1, 1, 3, 1), np.float32)
    x[0, 0, :, 0] = [np.inf, 1, -np.inf]
    result = conv(x, np.ones((1, 1, 1, 1), np.float32), activation="relu6").numpy().ravel()
    np.testing.assert_array_equal(result, [6, 1, 0])


def test_the_largest_rate(conv):
    x, filters, _, _ = random_convolution(3)
    np.testing.assert_array_equal(conv(x, filters, 1 << 16), conv(x, filters[1:2, 1:2]))


# -- gradients ---------------------------------------------------------------------------------------------------------


def gradients(function, tensors, upstream):
    tensors = [tf.convert_to_tensor(tensor) for tensor in tensors]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        result = function(*tensors)
    return tape.gradient(result, tensors, tf.cast(upstream, result.dtype))


@pytest.mark.parametrize("rate", [1, (2, 3), 9])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_gradient_is_numerically_right(rate, padding):
    rows, columns = (rate, rate) if isinstance(rate, int) else rate
    size = (4, 3) if padding == "same" else (2 + rows, 1 + 2 * columns)
    arrays = random_convolution(4, size, 2, 2, kernel=(2, 3), batch=1, dtype=np.float64)
    for activation in (None, "hard_silu"):
        analytic, numeric = tf.test.compute_gradient(
            tf.function(lambda x, f, s, o, a=activation: kseg_ops.atrous_conv2d(x, f, rate, None, s, o, a, padding)),
            list(arrays),
            delta=2.0**-14,
        )
        for ours, theirs in zip(analytic, numeric, strict=True):
            # Values up to 2**7, rounded at 2**-53, over a step of 2**-14; hard_silu adds its curvature of 1/3 times the
            # step times a squared slope of up to 2**6, and twice that at a kink.
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=2.0**-30 if activation is None else 2.0**-5)


@pytest.mark.parametrize("activation", [None, "relu", "relu6", "hard_sigmoid", "hard_silu"])
@pytest.mark.parametrize("dtype", [tf.float32, tf.float16, tf.bfloat16])
def test_native_gradient_equals_reference(monkeypatch, activation, dtype):
    native = native_atrous_conv2d(monkeypatch)
    x, filters, scale, offset = random_convolution(5, (9, 8), 6, 7)
    x, filters = tf.cast(x, dtype), tf.cast(filters, dtype)
    upstream = tf.random.stateless_uniform((2, 9, 8, 7), (1, 2), -1, 1)

    def call(function):
        return lambda x, f, s, o: function(x, f, (2, 3), None, s, o, activation)

    ours = gradients(call(native), (x, filters, scale, offset), upstream)
    theirs = gradients(call(reference(kseg_ops.atrous_conv2d)), (x, filters, scale, offset), upstream)
    # Sums of at most 144 pixels or 63 taps times outputs of size 10, of products of up to three factors below 4 each;
    # the order differs. Then the rounding of the result's dtype.
    unit = {tf.float32: 0.0, tf.float16: 2.0**-10, tf.bfloat16: 2.0**-7}[dtype]
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype
        a, b = as_float32(a), as_float32(b)
        np.testing.assert_allclose(a, b, rtol=unit, atol=144 * EPS * 64 + unit / 8)


def test_only_what_is_given_has_a_gradient(conv):
    x, filters, _, offset = random_convolution(6)
    upstream = np.ones((2, 7, 5, 4), np.float32)
    plain = gradients(lambda x, f: conv(x, f, 2), (x, filters), upstream)
    biased = gradients(lambda x, f, o: conv(x, f, 2, o), (x, filters, offset), upstream)
    for a, b in zip(plain, biased[:2], strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(biased[2], np.full(4, 70, np.float32))


def test_a_gradient_without_the_one_of_conv2d(monkeypatch):
    """Without oneDNN the reference goes the other way round; the results are the same."""
    from kseg_ops.reference import atrous_conv2d as module

    x, filters, _, _ = random_convolution(7)
    upstream = np.ones((2, 7, 5, 4), np.float32)
    call = reference(kseg_ops.atrous_conv2d)
    first = gradients(lambda x, f: call(x, f, 2), (x, filters), upstream)
    monkeypatch.setattr(module, "_conv2d_has_dilated_gradient", lambda: False)
    second = gradients(lambda x, f: call(x, f, 2), (x, filters), upstream)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=70 * EPS * 70 * 4)


# -- graphs ------------------------------------------------------------------------------------------------------------


def test_static_shapes_are_inferred(conv):
    seen = {}

    @tf.function
    def traced(x, filters):
        seen["same"] = conv(x, filters, 2).shape.as_list()
        seen["valid"] = conv(x, filters, 2, padding="valid").shape.as_list()
        return x

    traced.get_concrete_function(tf.TensorSpec([2, None, 9, 8]), tf.TensorSpec([3, 3, 8, 5]))
    assert seen == {"same": [2, None, 9, 5], "valid": [2, None, 5, 5]}


def test_sizes_unknown_until_run_time(conv):
    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([3, 3, 3, 2])])
    def both(x, filters):
        with tf.GradientTape() as tape:
            tape.watch(x)
            result = conv(x, filters, 2, activation="relu")
        return result, tape.gradient(result, x)

    result, gradient = both(ONES, KERNEL)
    np.testing.assert_array_equal(result, conv(ONES, KERNEL, 2))
    assert gradient.shape == ONES.shape


@pytest.mark.parametrize("name", ["bias", "scale", "offset"])
@pytest.mark.parametrize("shape", [None, [None]])
def test_vectors_known_only_at_run_time(conv, name, shape):
    signature = [tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([None] * 4), tf.TensorSpec(shape)]

    @tf.function(input_signature=signature)
    def unknown(x, filters, vector):
        with tf.GradientTape() as tape:
            tape.watch(vector)
            result = conv(x, filters, 2, **{name: vector})
        return result, tape.gradient(result, vector)

    vector = np.float32([3, -2])
    result, gradient = unknown(ONES, KERNEL, vector)
    np.testing.assert_array_equal(result, conv(ONES, KERNEL, 2, **{name: vector}))
    assert gradient.shape == (2,)
    for wrong in (vector[:0], vector[:1], np.ones(3, np.float32)):
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"{name} must have one entry per output channel"):
            unknown(ONES, KERNEL, wrong)


def test_the_reference_compiles_under_xla():
    x, filters, scale, offset = random_convolution(8)
    call = reference(kseg_ops.atrous_conv2d)

    @tf.function(jit_compile=True)
    def compiled(x, filters, scale, offset):
        with tf.GradientTape() as tape:
            tape.watch(x)
            result = call(x, filters, (2, 1), None, scale, offset, "relu")
        return result, tape.gradient(result, x)

    bound = rounding(x, filters, scale, offset, (2, 1), "same")
    result, gradient = compiled(x, filters, scale, offset)
    assert np.all(np.abs(result - call(x, filters, (2, 1), None, scale, offset, "relu")) <= bound)
    assert gradient.shape == x.shape


def test_in_a_data_pipeline(conv):
    x, filters, _, _ = random_convolution(9)
    mapped = next(iter(tf.data.Dataset.from_tensors(x).map(lambda x: conv(x, filters, 2))))
    np.testing.assert_array_equal(mapped, conv(x, filters, 2))


def test_stock_runs_below_the_crossover():
    """The graph has the compiled op only where it is the faster one."""
    for channels, native in ((2047, False), (2048, True)):
        graph = tf.function(lambda x, f: kseg_ops.atrous_conv2d(x, f, 2)).get_concrete_function(
            tf.TensorSpec([1, 9, 9, channels]), tf.TensorSpec([3, 3, channels, 8])
        )
        ops = {node.op for node in graph.graph.as_graph_def().node}
        native = native and kseg_ops._library.native_op("atrous_conv2d") is not None
        assert ("Kseg>AtrousConv2d" in ops) == native
        assert ("Conv2D" in ops) != native


# -- invalid input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": ONES.astype(np.int32)}, TypeError, "x must be float32, float16, bfloat16 or float64, got int32"),
        ({"x": ONES[0]}, ValueError, r"x must have shape \[B, H, W, C\], got \(4, 5, 3\)"),
        ({"filters": KERNEL[0]}, ValueError, r"filters must have shape \[kh, kw, C, F\], got \(3, 3, 2\)"),
        ({"filters": KERNEL.astype(np.float16)}, TypeError, "filters must have the dtype of x, float32, got float16"),
        ({"filters": KERNEL[:, :, :2]}, ValueError, r"with the channels of x, C = 3, got \(3, 3, 2, 2\)"),
        ({"filters": KERNEL[..., :0]}, ValueError, r"filters must have no axis of size 0, got shape \(3, 3, 3, 0\)"),
        ({"rate": 0}, ValueError, "rate must be in 1..65536, got 0"),
        ({"rate": (1, -2)}, ValueError, "rate must be in 1..65536, got -2"),
        ({"rate": (1, 2, 3)}, ValueError, r"rate must be an int or \(rows, columns\), got \(1, 2, 3\)"),
        ({"rate": 1.5}, TypeError, "rate must be an integer, got 1.5"),
        ({"activation": "tanh"}, ValueError, "activation must be None or one of linear, relu, .*, got 'tanh'"),
        ({"padding": "full"}, ValueError, 'padding must be "same" or "valid", got \'full\''),
        ({"padding": "valid", "rate": 3}, ValueError, 'height of at least 6 for padding="valid".*got 4.*"same"'),
        ({"scale": [1.0]}, ValueError, r"scale must have one entry per output channel, shape \[2\], got shape \(1,\)"),
        ({"offset": np.ones(2, np.int32)}, TypeError, "offset must be floating, got int32"),
        ({"bias": [1.0, 1.0], "scale": [1.0, 1.0]}, ValueError, "bias must not be given together with scale or offset"),
    ],
)
def test_invalid_arguments(conv, change, error, message):
    with pytest.raises(error, match=message):
        conv(**{"x": ONES, "filters": KERNEL, **change})


def test_keras_tensors_are_refused():
    keras = pytest.importorskip("keras")
    with pytest.raises(TypeError, match=r"x is a KerasTensor.*kseg.layers.AtrousConv2D"):
        kseg_ops.atrous_conv2d(keras.Input((4, 5, 3)), KERNEL)
