"""Atrous spatial pyramid pooling by hand, against its definition, and at the edges."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg_ops import AsppBranch, _library
from tests.helpers.aspp_cases import defined_block, random_block, random_map
from tests.helpers.convolution_cases import as_float32, reference


@pytest.fixture(params=["native", "reference"])
def aspp(request):
    """`kseg_ops.aspp` in either form."""
    if request.param == "reference":
        return reference(kseg_ops.aspp)
    if _library.native_op("aspp") is None:
        pytest.skip("the compiled library is off")
    return kseg_ops.aspp


def weights(*values, shape=None):
    return np.array(values, np.float32).reshape(shape or (1, 1, -1, 1))


# -- by hand -----------------------------------------------------------------------------------------------------------


def test_a_row_by_hand(aspp):
    x = weights(1, 2, 4, 8, shape=(1, 1, 4, 1))
    double = AsppBranch(weights(2))
    neighbours = AsppBranch(weights(1, 0, 1, shape=(1, 3, 1, 1)), rate=2, offset=[-3.0])  # 4 8 1 2 before the offset
    mean = AsppBranch(weights(4))  # 15
    projection = AsppBranch(weights(1, 10, 100), offset=[0.5])
    result = aspp(x, [double, neighbours], projection, mean).numpy().ravel()
    np.testing.assert_array_equal(result, [1512.5, 1554.5, 1508.5, 1516.5])
    result = aspp(x, [double, neighbours], AsppBranch(weights(1, 10)))
    np.testing.assert_array_equal(result.numpy().ravel(), [12, 54, 8, 16])


def test_a_separable_branch_by_hand(aspp):
    x = np.array([[1, 10], [2, 20], [4, 40]], np.float32).reshape(1, 1, 3, 2)
    depthwise = np.array([[1, 0], [0, 1], [0, 0]], np.float32).reshape(1, 3, 2, 1)  # the pixel before; the pixel
    branch = AsppBranch(weights(1, 1), depthwise=depthwise, depthwise_offset=[-1.0, 0.0], depthwise_activation="relu")
    np.testing.assert_array_equal(aspp(x, [branch], AsppBranch(weights(1))).numpy().ravel(), [10, 20, 41])


def test_each_image_has_its_own_mean(aspp):
    x = np.stack([np.full((3, 2, 1), value, np.float32) for value in (1, 5)])
    nothing, mean = AsppBranch(weights(0)), AsppBranch(weights(1))
    result = aspp(x, [nothing], AsppBranch(weights(1, 1)), mean).numpy()
    np.testing.assert_array_equal(result, x)


# -- against the definition --------------------------------------------------------------------------------------------

BLOCKS = [
    {},
    {"pooled": 0},
    {"separable": (1, 2)},
    {"separable": (0, 1, 2), "activation": None},
    {"outputs": (4,), "rates": (1,)},
    {"channels": 19, "outputs": (33, 40), "rates": (1, 2), "separable": (1,), "final": 37},
    {"activation": "hard_silu"},
]


@pytest.mark.parametrize("options", BLOCKS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equals_the_definition(aspp, options, dtype):
    dtype = np.dtype(dtype).type
    block = random_block(1, dtype=dtype, **options)
    x = random_map(1, channels=options.get("channels", 5), dtype=dtype)
    expected, bound = defined_block(x, **block)
    result = aspp(x, **block)
    assert result.dtype == dtype
    assert result.shape == expected.shape
    unit = 1 if dtype == np.float32 else 2.0**-29
    assert np.all(np.abs(result.numpy() - expected) <= unit * bound)


@pytest.mark.parametrize(("dtype", "unit"), [(tf.float16, 2.0**-11), (tf.bfloat16, 2.0**-8)])
def test_sixteen_bits_round_once(aspp, dtype, unit):
    block = random_block(2, separable=(1,))
    x = tf.cast(random_map(2), dtype)

    def cast(branch, to):
        return branch._replace(
            filters=tf.cast(branch.filters, to),
            depthwise=None if branch.depthwise is None else tf.cast(branch.depthwise, to),
        )

    def block_of(to):
        # Rounded to 16 bits in either case.
        given = {"branches": block["branches"], "rest": [block["projection"], block["pooling"]]}
        rounded = {key: [cast(cast(branch, dtype), to) for branch in value] for key, value in given.items()}
        return rounded["branches"], *rounded["rest"]

    result = aspp(x, *block_of(dtype))
    assert result.dtype == dtype
    branches, projection, pooling = block_of(tf.float32)
    expected, bound = defined_block(as_float32(x), branches, projection, pooling)
    assert np.all(np.abs(as_float32(result) - expected) <= unit * np.abs(expected) + 2 * bound + 2.0**-25)


# -- extreme input -----------------------------------------------------------------------------------------------------


def test_empty_inputs(aspp):
    block = random_block(3, separable=(1,))
    for shape in ((0, 4, 5, 5), (2, 0, 5, 5), (2, 4, 0, 5)):
        assert aspp(np.zeros(shape, np.float32), **block).shape == (*shape[:3], 4)


def test_one_pixel(aspp):
    block = random_block(4, separable=(2,))
    x = random_map(4, (1, 1), batch=1)
    expected, bound = defined_block(x, **block)
    assert np.all(np.abs(aspp(x, **block) - expected) <= bound)


def test_a_nan_spoils_its_image_only_through_the_mean(aspp):
    x = random_map(5)
    x[1, 4, 3, 2] = np.nan
    assert np.isnan(aspp(x, **random_block(5))[1]).all()
    clean = aspp(x, **random_block(5, pooled=0))
    assert not np.isnan(clean[0]).any()
    assert 0 < np.isnan(clean[1]).sum() < np.size(clean[1])


# -- gradients ---------------------------------------------------------------------------------------------------------


def tensors_of(block):
    return tf.nest.map_structure(
        lambda value: tf.constant(value) if isinstance(value, np.ndarray) else value, block, expand_composites=False
    )


def gradients(function, x, block, upstream):
    x, block = tf.constant(x), tensors_of(block)
    watched = [x, *(value for value in tf.nest.flatten(block) if tf.is_tensor(value))]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        result = function(x, **block)
    return tape.gradient(result, watched, upstream)


@pytest.mark.parametrize("separable", [(), (1,)])
def test_gradient_is_numerically_right(separable):
    block = random_block(6, 2, (2, 3), (1, (2, 1)), separable, 2, 2, dtype=np.float64, activation=None)
    x = random_map(6, (3, 4), 2, 1, np.float64)
    flat = tf.nest.flatten(block)
    arrays = [x, *(value for value in flat if isinstance(value, np.ndarray))]

    def call(x, *tensors):
        rest = iter(tensors)
        filled = [next(rest) if isinstance(value, np.ndarray) else value for value in flat]
        return kseg_ops.aspp(x, **tf.nest.pack_sequence_as(block, filled))

    analytic, numeric = tf.test.compute_gradient(tf.function(call), arrays, delta=2.0**-14)
    for ours, theirs in zip(analytic, numeric, strict=True):
        # Linear in each argument: what is left is rounding, values of up to 2**6 at 2**-53 over a step of 2**-14.
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2.0**-30)


@pytest.mark.parametrize("options", BLOCKS[:4], ids=str)
def test_native_gradient_equals_reference(options):
    if _library.native_op("aspp") is None:
        pytest.skip("the compiled library is off")
    block, x = random_block(7, **options), random_map(7)
    upstream = tf.random.stateless_uniform((2, 9, 7, 4), (1, 2), -1, 1)
    for a, b in zip(
        gradients(kseg_ops.aspp, x, block, upstream),
        gradients(reference(kseg_ops.aspp), x, block, upstream),
        strict=True,
    ):
        # The same operations of the same inputs.
        np.testing.assert_array_equal(a, b)


# -- graphs ------------------------------------------------------------------------------------------------------------


def test_static_and_unknown_sizes(aspp):
    block, x = random_block(8, separable=(2,)), random_map(8)
    seen = {}

    @tf.function(input_signature=[tf.TensorSpec([None, None, 7, 5])])
    def traced(x):
        result = aspp(x, **block)
        seen["shape"] = result.shape.as_list()
        return result

    np.testing.assert_array_equal(traced(x), aspp(x, **block))
    assert seen["shape"] == [None, None, 7, 4]
    unknown = tf.function(lambda x: aspp(x, **block), input_signature=[tf.TensorSpec(None)])
    np.testing.assert_array_equal(unknown(x), aspp(x, **block))


def test_the_reference_compiles_under_xla():
    block, x = random_block(9, separable=(1,)), random_map(9)
    call = reference(kseg_ops.aspp)
    compiled = tf.function(lambda x: call(x, **block), jit_compile=True)
    _, bound = defined_block(x, **block)
    assert np.all(np.abs(compiled(x) - call(x, **block)) <= 2 * bound)


# -- invalid input -----------------------------------------------------------------------------------------------------

X = np.ones((1, 4, 5, 3), np.float32)
BRANCH = AsppBranch(np.ones((3, 3, 3, 2), np.float32), rate=2)
SEPARABLE = AsppBranch(np.ones((1, 1, 3, 2), np.float32), depthwise=np.ones((3, 3, 3, 1), np.float32))
PROJECTION = AsppBranch(np.ones((1, 1, 2, 4), np.float32))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": X.astype(np.int32)}, TypeError, "x must be float32, float16, bfloat16 or float64, got int32"),
        ({"x": X[0]}, ValueError, r"x must have shape \[B, H, W, C\], got \(4, 5, 3\)"),
        ({"branches": []}, ValueError, "branches must hold at least one AsppBranch, got none"),
        ({"branches": BRANCH}, TypeError, "branches must be a list of AsppBranch, got AsppBranch"),
        ({"branches": [BRANCH.filters]}, TypeError, r"branches\[0\] must be an AsppBranch, got ndarray"),
        ({"branches": [BRANCH._replace(rate=0)]}, ValueError, r"branches\[0\].rate must be in 1..65536, got 0"),
        (
            {"branches": [BRANCH._replace(filters=BRANCH.filters[:, :, :2])]},
            ValueError,
            r"branches\[0\].filters must have shape \[None, None, 3, None\].* got \(3, 3, 2, 2\)",
        ),
        (
            {"branches": [BRANCH._replace(filters=BRANCH.filters.astype(np.float16))]},
            TypeError,
            r"branches\[0\].filters must have the dtype of x, float32, got float16",
        ),
        (
            {"branches": [SEPARABLE._replace(filters=BRANCH.filters)]},
            ValueError,
            r"branches\[0\].filters must have shape \[1, 1, 3, None\]",
        ),
        (
            {"branches": [SEPARABLE._replace(depthwise=np.ones((3, 3, 3, 2), np.float32))]},
            ValueError,
            r"branches\[0\].depthwise must have shape \[None, None, 3, 1\].* got \(3, 3, 3, 2\)",
        ),
        (
            {"branches": [SEPARABLE._replace(depthwise_scale=[1.0])]},
            ValueError,
            r"branches\[0\].depthwise_scale must have one entry per channel, shape \[3\], got \(1,\)",
        ),
        (
            {"branches": [BRANCH._replace(depthwise_offset=[1.0] * 3)]},
            ValueError,
            r"branches\[0\].depthwise_offset must be None where branches\[0\].depthwise is",
        ),
        (
            {"branches": [BRANCH._replace(activation="tanh")]},
            ValueError,
            r"branches\[0\].activation must be None or one of linear, .* got 'tanh'",
        ),
        (
            {"projection": PROJECTION._replace(filters=np.ones((1, 1, 3, 4), np.float32))},
            ValueError,
            r"projection.filters must have shape \[1, 1, 2, None\].* got \(1, 1, 3, 4\)",
        ),
        ({"pooling": BRANCH}, ValueError, r"pooling.filters must have shape \[1, 1, 3, None\]"),
        ({"pooling": SEPARABLE}, ValueError, "pooling.depthwise must be None"),
        ({"branches": [BRANCH._replace(scale=[1, 2, 3.0])]}, ValueError, r"branches\[0\].scale must have one entry"),
        ({"branches": [BRANCH._replace(scale=np.ones(2, int))]}, TypeError, r"scale must be floating, got int64"),
    ],
)
def test_invalid_arguments(aspp, change, error, message):
    with pytest.raises(error, match=message):
        aspp(**{"x": X, "branches": [BRANCH], "projection": PROJECTION, **change})


@pytest.mark.parametrize("field", ["scale", "offset", "depthwise_scale", "depthwise_offset"])
def test_vectors_known_only_at_run_time(aspp, field):
    branch = SEPARABLE if field.startswith("depthwise") else BRANCH
    size = 3 if field.startswith("depthwise") else 2

    def result(vector):
        return aspp(X, [branch._replace(**{field: vector})], PROJECTION)

    unknown = tf.function(result, input_signature=[tf.TensorSpec([None])])
    vector = np.arange(1, size + 1, dtype=np.float32)
    np.testing.assert_array_equal(unknown(vector), result(vector))
    for wrong in (vector[:0], vector[:1], np.ones(size + 1, np.float32)):
        message = rf"branches\[0\].{field} must have one entry per channel"
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            unknown(wrong)


def test_keras_tensors_are_refused():
    keras = pytest.importorskip("keras")
    with pytest.raises(TypeError, match=r"x is a KerasTensor.*kseg.layers.ASPP"):
        kseg_ops.aspp(keras.Input((4, 5, 3)), [BRANCH], PROJECTION)
