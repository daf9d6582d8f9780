"""Multi-level RoIAlign in both forms: gradients, graphs, empty and invalid input."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
import kseg_ops.numpy
from kseg_ops import _library
from tests.helpers.multilevel_roi_align_cases import EPS, both, gradients_of, native, random_case, reference

# -- gradients ---------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_gradient_is_numerically_right(pool, sampling_ratio):
    features, boxes = random_case(7, channels=1, levels=(4, 3, 5), size=(40, 56), count=9, dtype=np.float64)
    boxes[:, 6:] = [[3, 4, 30, 35], [1, 2, 55, 70.5], [0, 0, 200, 130]]  # P3, P4 and P5
    names = sorted(features)
    analytic, numeric = tf.test.compute_gradient(
        tf.function(lambda *levels: pool(dict(zip(names, levels, strict=True)), boxes, 2, sampling_ratio, True, 60)),
        [features[name] for name in names],
        delta=2.0**-8,
    )
    for ours, quotient in zip(analytic, numeric, strict=True):
        assert np.any(ours)
        # The op is linear, so that a difference quotient has no error but rounding: eps * |output| / delta, twice, of
        # sums of at most 35 pixels.
        np.testing.assert_allclose(ours, quotient, rtol=0, atol=2 * (2 * 35 + 8) * 2.0**-52 * 2**8)


@both
def test_boxes_have_no_gradient(pool):
    boxes = tf.constant([[[0.0, 0.0, 30.0, 30.0]]])
    features = {"P3": tf.random.stateless_uniform((1, 8, 8, 1), (0, 0))}
    with tf.GradientTape() as tape:
        tape.watch(boxes)
        pooled = pool(features, boxes, 2)
    assert tape.gradient(pooled, boxes) is None


@both
def test_boxes_that_are_not_finite_take_no_gradient(pool):
    features = {"P2": np.ones((1, 9, 9, 2), np.float32), "P4": np.ones((1, 3, 3, 2), np.float32)}
    boxes = np.array([[[np.nan, 0, 9, 9], [0, 0, np.inf, 900], [-np.inf, -np.inf, np.inf, np.inf]]], np.float32)
    for sampling_ratio in (0, 2):
        pooled = pool(features, boxes, 2, sampling_ratio).numpy()
        np.testing.assert_array_equal(pooled, np.zeros_like(pooled))
        gradients = gradients_of(pool, features, boxes, np.ones_like(pooled), 2, sampling_ratio)
        for name, level in features.items():
            np.testing.assert_array_equal(gradients[name], np.zeros_like(level))


@both
def test_second_order(pool):
    features, boxes = random_case(8, size=(60, 60))
    features = {name: tf.constant(level) for name, level in features.items()}
    with tf.GradientTape() as outer:
        outer.watch(features)
        with tf.GradientTape() as inner:
            inner.watch(features)
            loss = tf.reduce_sum(pool(features, boxes, 2) ** 2)
        gradients = inner.gradient(loss, features)
        product = tf.add_n([tf.reduce_sum(gradient * gradient) for gradient in gradients.values()])
    second = outer.gradient(product, features)
    # loss = |A f|^2, gradient g = 2 A^T A f, and the gradient of |g|^2 is 4 A^T A g.
    expected = gradients_of(pool, features, boxes, pool(gradients, boxes, 2), 2)
    for name, level in expected.items():
        bound = np.abs(4 * level).max()
        np.testing.assert_allclose(second[name], 4 * level, rtol=0, atol=100 * EPS * bound)


def test_a_native_forward_can_have_a_reference_backward():
    features, boxes = random_case(9)
    features = {name: tf.constant(level) for name, level in features.items()}
    upstream = tf.random.stateless_normal((*boxes.shape[:2], 2, 2, 3), (1, 2))
    with tf.GradientTape() as tape:
        tape.watch(features)
        pooled = native(features, boxes, 2)
    with kseg_ops.use_reference():
        gradients = tape.gradient(pooled, features, upstream)
    expected = gradients_of(reference, features, boxes, upstream, 2)
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(gradient, expected[name])


# -- graphs ------------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("ranks", ["known", "unknown"])
def test_unknown_shapes(pool, sampling_ratio, ranks):
    features, boxes = random_case(5)

    @tf.function(input_signature=[{name: tf.TensorSpec(None) for name in features}, tf.TensorSpec(None)])
    def unknown(features, boxes):
        if ranks == "known":
            features = {name: tf.ensure_shape(level, [None] * 4) for name, level in features.items()}
            boxes = tf.ensure_shape(boxes, [None, None, 4])
        with tf.GradientTape() as tape:
            tape.watch(features)
            pooled = pool(features, boxes, (2, 3), sampling_ratio)
        assert pooled.shape.as_list() == [None, None, 2, 3, None]
        return pooled, tape.gradient(pooled, features)

    pooled, gradients = unknown(features, boxes)
    expected = pool(features, boxes, (2, 3), sampling_ratio)
    unit = 2 * (23 * 30 + 8) * EPS
    np.testing.assert_allclose(pooled, expected, rtol=0, atol=unit)
    for name, gradient in gradients_of(pool, features, boxes, np.ones(expected.shape), (2, 3), sampling_ratio).items():
        np.testing.assert_allclose(gradients[name], gradient, rtol=2 * boxes.shape[1] * unit, atol=1e-30)


@both
def test_static_shapes_are_inferred(pool):
    seen = []

    @tf.function
    def traced(fine, coarse, boxes):
        seen.append(pool({"P3": coarse, "P2": fine}, boxes, (2, 3)).shape.as_list())

    def trace(*shapes):
        traced.get_concrete_function(*(tf.TensorSpec(shape) for shape in shapes))
        return seen.pop()

    assert trace([None, None, 5, 8], [None, 3, 3, None], [2, None, 4]) == [2, None, 2, 3, 8]
    assert trace([7, None, 5, None], None, [None, 6, 4])[1:] == [6, 2, 3, None]


@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_the_reference_compiles_under_xla(sampling_ratio):
    features, boxes = random_case(6)

    @tf.function(jit_compile=True)
    def compiled(features, boxes):
        with tf.GradientTape() as tape:
            tape.watch(features)
            pooled = reference(features, boxes, (2, 3), sampling_ratio)
        return pooled, tape.gradient(pooled, features)

    pooled, gradients = compiled(features, boxes)
    # XLA may contract the multiplications and additions of a position. Those that count are below 32, rounded in steps
    # of 256 * EPS at most on the way there (boxes of up to 1000 pixels on a stride of 4), and neighbours differ by 2.
    moved = 2 * 2 * 256 * EPS
    atol = 2 * (23 * 30 + 8) * EPS + moved
    finite = np.isfinite(boxes).all(-1) & (np.abs(boxes).max(-1) < 1e6)
    expected = reference(features, boxes, (2, 3), sampling_ratio)
    np.testing.assert_allclose(pooled.numpy()[finite], expected.numpy()[finite], rtol=0, atol=atol)
    for name, gradient in gradients_of(
        reference, features, boxes, np.ones(pooled.shape), (2, 3), sampling_ratio
    ).items():
        np.testing.assert_allclose(gradients[name], gradient, rtol=0, atol=boxes.shape[1] * 6 * atol)


@both
def test_in_a_data_pipeline(pool):
    features, boxes = random_case(2)
    data = tf.data.Dataset.from_tensor_slices((features, boxes)).batch(1)
    pooled = np.concatenate(list(data.map(lambda features, boxes: pool(features, boxes, 2)).as_numpy_iterator()))
    np.testing.assert_array_equal(pooled, pool(features, boxes, 2))


# -- empty and invalid input -------------------------------------------------------------------------------------------


@both
def test_empty_inputs(pool):
    features, boxes = random_case(3)
    assert pool(features, boxes[:, :0], (2, 3)).shape == (2, 0, 2, 3, 3)
    gradients = gradients_of(pool, features, boxes[:, :0], np.zeros((2, 0, 2, 3, 3), np.float32), (2, 3))
    for name, level in features.items():
        np.testing.assert_array_equal(gradients[name], np.zeros_like(level))
    none = {name: level[:0] for name, level in features.items()}
    assert pool(none, boxes[:0], (2, 3)).shape == (0, 14, 2, 3, 3)
    bare = {name: level[..., :0] for name, level in features.items()}
    for sampling_ratio in (0, 2):
        assert pool(bare, boxes, (2, 3), sampling_ratio).shape == (2, 14, 2, 3, 0)


P2, P3 = np.ones((2, 8, 9, 3), np.float32), np.ones((2, 4, 5, 3), np.float32)
GIVEN = {"features": {"P2": P2, "P3": P3}, "boxes": np.ones((2, 6, 4), np.float32), "output_size": 2}
INVALID = [
    ({"aligned": "False"}, TypeError, "aligned must be True or False, got 'False'"),
    ({"features": [P2]}, TypeError, "features must be a dict from level to feature map.*got list"),
    ({"features": {}}, ValueError, "features must have at least one level"),
    ({"features": {"p2": P2}}, ValueError, 'features must have keys "P0" to "P30".*got \'p2\''),
    ({"features": {"P02": P2}}, ValueError, "got 'P02'"),
    ({"features": {"P31": P2}}, ValueError, "got 'P31'"),
    ({"features": {2: P2}}, ValueError, "got 2"),
    ({"output_size": 0}, ValueError, "output_size must be in 1..1048576, got 0"),
    ({"sampling_ratio": -1}, ValueError, "sampling_ratio must be in 0..128, got -1"),
    ({"canonical_size": 0.5}, ValueError, "canonical_size must be in 1..1048576 pixels, got 0.5"),
    ({"canonical_size": float("nan")}, ValueError, "canonical_size must be in 1..1048576 pixels, got nan"),
    ({"canonical_size": 10**400}, ValueError, "canonical_size must be in 1..1048576 pixels"),
    ({"canonical_size": "224"}, TypeError, "canonical_size must be a number of pixels, got '224'"),
    ({"canonical_level": 31}, ValueError, "canonical_level must be in 0..30, got 31"),
    ({"canonical_level": 4.0}, TypeError, "canonical_level must be an integer, got 4.0"),
    ({"boxes": np.ones((2, 6, 4), np.float16)}, TypeError, "boxes must be float32, got float16.*autocast=False"),
]
INVALID_TENSORS = [
    ({"features": {"P2": P2.astype(int)}}, TypeError, r'features\["P2"\] must be float32, .* got int64'),
    (
        {"features": {"P2": P2, "P3": P3.astype(np.float16)}},
        TypeError,
        r'features\["P3"\] must have the dtype of features\["P2"\], float32, got float16',
    ),
    ({"features": {"P2": P2[0]}}, ValueError, r'features\["P2"\] must have shape \[B, H, W, C\], got \(8, 9, 3\)'),
    ({"features": {"P2": P2, "P3": P3[:1]}}, ValueError, r'features\["P3"\] must have the batch size of boxes'),
    ({"features": {"P2": P2, "P3": P3[..., :1]}}, ValueError, "and the channels of the other levels, 2 and 3"),
    ({"boxes": np.ones((2, 4), np.float32)}, ValueError, r"boxes must have shape \[B, N, 4\], got \(2, 4\)"),
]


@both
@pytest.mark.parametrize(("change", "error", "message"), INVALID + INVALID_TENSORS)
def test_invalid_arguments(pool, change, error, message):
    with pytest.raises(error, match=message):
        pool(**{**GIVEN, **change})


@pytest.mark.skipif(_library.core() is None, reason="the NumPy module is not in use")
@pytest.mark.parametrize(("change", "error", "message"), INVALID)
def test_the_numpy_form_refuses_the_same(change, error, message):
    with pytest.raises(error, match=message):
        kseg_ops.numpy.multilevel_roi_align(**{**GIVEN, **change})


@both
@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([P2, P3[:1]], "must have the batch size of boxes"),
        ([P2, P3[..., :1]], "channels"),
        ([P2, P3[:, :0]], "must have at least one row and one column"),
    ],
)
def test_what_is_known_at_run_time_only(pool, levels, message):
    @tf.function(input_signature=[tf.TensorSpec(None)] * 3)
    def unknown(fine, coarse, boxes):
        return pool({"P2": fine, "P3": coarse}, boxes, 2)

    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        unknown(*levels, GIVEN["boxes"])


def test_keras_tensors_are_refused():
    keras = pytest.importorskip("keras")
    with pytest.raises(TypeError, match=r"features\['P2'\] is a KerasTensor.*Use kseg.layers.MultilevelRoIAlign inst"):
        kseg_ops.multilevel_roi_align({"P2": keras.Input((4, 5, 3))}, GIVEN["boxes"], 2)
