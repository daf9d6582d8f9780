"""RoIAlign in both forms: extreme and invalid input, gradients, graphs."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from tests.helpers.roi_align_cases import (
    EPS,
    gradient_of,
    native,
    random_case,
    reference,
    scalar_roi_align,
    terms,
)

# -- extreme input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling_ratio", [0, 1, 2, 5])
@pytest.mark.parametrize("aligned", [True, False])
def test_boxes_that_are_not_finite_give_zeros_and_no_gradient(pool, sampling_ratio, aligned):
    features = np.ones((1, 5, 6, 4), np.float32)
    rows = []
    for bad in (np.nan, np.inf, -np.inf):
        for corner in range(4):
            box = np.array([1, 1, 4, 4], np.float32)
            box[corner] = bad
            rows.append(box)
    rows.append(np.array([-np.inf, -np.inf, np.inf, np.inf]))
    indices = np.zeros(len(rows), np.int32)
    args = (np.stack(rows).astype(np.float32), indices)
    pooled = pool(features, *args, 3, 1.0, sampling_ratio, aligned).numpy()
    np.testing.assert_array_equal(pooled, np.zeros_like(pooled))
    gradient = gradient_of(pool, features, *args, np.ones_like(pooled), 3, 1.0, sampling_ratio, aligned)
    np.testing.assert_array_equal(gradient, np.zeros_like(features))


@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("size", [1e5, 1e6, 1e9, 1e30, 3e38])
def test_huge_boxes_neither_hang_nor_overflow(pool, sampling_ratio, size):
    features = np.ones((1, 5, 6, 2), np.float32)
    boxes = np.array([[-size, -size, size, size], [-size / 3, 1, size, 4], [1, 0, size, size]], np.float32)
    pooled = pool(features, boxes, [0] * 3, 3, sampling_ratio=sampling_ratio).numpy()
    assert np.all((pooled >= 0) & (pooled <= 1 + 4 * EPS))
    if sampling_ratio == 0 and size <= 1e6:
        # An adaptive mean over ones is the share of the samples that meet the map: at most 8 per axis.
        assert 0 < pooled[0, 1, 1, 0] < (2 * 3 * 8 / size) ** 2


def test_an_adaptive_grid_far_larger_than_the_map_keeps_its_samples(pool):
    # 60 x 60 samples per bin, of which few meet the 5 x 6 map: the window over the samples must hold them all.
    features = np.random.default_rng(0).uniform(0, 1, (1, 5, 6, 1)).astype(np.float32)
    boxes = np.array([[-70.3, -50.2, 49.1, 69.7], [-100.7, -3.1, 19.2, 116.3]], np.float32)
    expected = scalar_roi_align(features, boxes, [0, 0], (2, 2), ratio=0)
    assert (expected > 0).any()
    pooled = pool(features, boxes, [0, 0], 2, sampling_ratio=0)
    # Sums of at most 30 pixels; each weight is a sum of at most 4 terms.
    np.testing.assert_allclose(pooled, expected, rtol=100 * EPS, atol=0)


@pytest.mark.parametrize("bins", [1, 7])
@pytest.mark.parametrize("channels", [1, 40])
def test_large_adaptive_bins_do_not_gather_rounding_errors(bins, channels):
    # The mean of ones over ones. Every weight is rounded a few times (4 units of EPS / 2 for each axis, as a pixel has
    # at most two neighbouring samples), and per axis the longest chain of additions is one block of 64 and one of
    # n / 64 sums of blocks. One long sum of n**2 terms would be off by 1e-2 here.
    n = 1500
    pooled = native(tf.ones([1, n, n, channels]), [[0.0, 0, n, n]], [0], bins, sampling_ratio=0).numpy()
    assert pooled.shape == (1, bins, bins, channels)
    np.testing.assert_allclose(pooled, np.ones_like(pooled), rtol=(2 * (64 + n / 64) + 8) * EPS / 2, atol=0)


@pytest.mark.parametrize("channels", [1, 3, 8, 40])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_large_bins_equal_the_definition(target, channels, dtype):
    # 75 rows and 140 columns in one bin: more than a block of either, and no multiple.
    features = np.random.default_rng(1).uniform(0, 1, (1, 75, 140, channels)).astype(dtype)
    boxes = np.array([[0, 0, 140, 75], [-20.3, 2.2, 150.9, 60.1]], np.float32)
    expected = scalar_roi_align(features, boxes, [0, 0], (1, 2), ratio=0)
    # Sums by block: at most 64 + 3 terms per axis. Positions of up to 160 pixels are rounded: that moves a weight by
    # as much, and the mean of values within 0..1 by less. Float16 rounds the result once more.
    real = np.float64 if dtype == np.float64 else np.float32
    bound = (2 * 67 + 8 + 2 * 256) * np.finfo(real).eps + (2.0**-11 if dtype == np.float16 else 0)
    np.testing.assert_allclose(native(features, boxes, [0, 0], (1, 2), sampling_ratio=0), expected, rtol=0, atol=bound)


def test_extreme_features(pool):
    largest = np.finfo(np.float32).max
    features = np.full((1, 4, 4, 3), largest / 4, np.float32)
    assert np.all(np.isfinite(pool(features, [[0, 0, 4, 4]], [0], 2)))
    tiny = np.full((1, 4, 4, 1), 1e-30, np.float32)
    np.testing.assert_allclose(pool(tiny, [[1, 1, 3, 3]], [0], 1), [[[[1e-30]]]], rtol=8 * EPS)


def test_a_nan_stays_where_it_is(pool):
    features = np.ones((1, 6, 6, 1), np.float32)
    features[0, 5, 5] = np.nan
    pooled = pool(features, [[0, 0, 3, 3], [3, 3, 6, 6]], [0, 0], 1).numpy().ravel()
    assert pooled[0] == 1
    assert np.isnan(pooled[1])


def test_empty_inputs(pool):
    features = np.ones((2, 4, 5, 3), np.float32)
    none = np.zeros((0, 4), np.float32)
    for sampling_ratio in (0, 2):
        assert pool(features, none, np.zeros(0, np.int32), (2, 3), sampling_ratio=sampling_ratio).shape == (0, 2, 3, 3)
        upstream = np.zeros((0, 2, 2, 3), np.float32)
        gradient = gradient_of(pool, features, none, np.zeros(0, np.int32), upstream, 2, 1.0, sampling_ratio)
        np.testing.assert_array_equal(gradient, np.zeros_like(features))
        no_channels = pool(features[..., :0], [[0, 0, 1, 1]], [0], 2, sampling_ratio=sampling_ratio)
        assert no_channels.shape == (1, 2, 2, 0)
    assert pool(np.zeros((0, 4, 5, 3), np.float32), none, np.zeros(0, np.int32), 2).shape == (0, 2, 2, 3)


# -- gradients ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("aligned", [True, False])
def test_gradient_is_numerically_right(pool, sampling_ratio, aligned):
    features, boxes, indices = random_case(7, channels=2, height=5, width=4, count=7, dtype=np.float64)
    analytic, numeric = tf.test.compute_gradient(
        tf.function(lambda values: pool(values, boxes / 4, indices, 2, 1.0, sampling_ratio, aligned)),
        [features],
        delta=2.0**-8,
    )
    # The op is linear, so that a difference quotient has no error but rounding: eps * |output| / delta, twice.
    np.testing.assert_allclose(analytic[0], numeric[0], rtol=0, atol=terms(0, features) * 2.0**-52 * 2**8)


def test_boxes_have_no_gradient(pool):
    boxes = tf.constant([[0.0, 0.0, 3.0, 3.0]])
    features = tf.random.stateless_uniform((1, 4, 4, 1), (0, 0))
    with tf.GradientTape() as tape:
        tape.watch(boxes)
        pooled = pool(features, boxes, [0], 2)
    assert tape.gradient(pooled, boxes) is None


def test_second_order(pool):
    features, boxes, indices = (tf.constant(array) for array in random_case(8))
    with tf.GradientTape() as outer:
        outer.watch(features)
        with tf.GradientTape() as inner:
            inner.watch(features)
            loss = tf.reduce_sum(pool(features, boxes, indices, 2) ** 2)
        gradient = inner.gradient(loss, features)
        product = tf.reduce_sum(gradient * gradient)
    # loss = |A f|^2, gradient g = 2 A^T A f, and the gradient of |g|^2 is 4 A^T A g.
    pooled = pool(gradient, boxes, indices, 2)
    expected = 4 * gradient_of(pool, features, boxes, indices, pooled, 2)
    bound = np.abs(expected).max()
    np.testing.assert_allclose(outer.gradient(product, features), expected, rtol=0, atol=100 * EPS * bound)


# -- graphs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("ranks", ["known", "unknown"])
def test_unknown_shapes(pool, sampling_ratio, ranks):
    @tf.function(
        input_signature=[
            tf.TensorSpec(None, tf.float32),
            tf.TensorSpec(None, tf.float32),
            tf.TensorSpec(None, tf.int32),
        ]
    )
    def unknown(features, boxes, indices):
        if ranks == "known":
            features = tf.ensure_shape(features, [None] * 4)
            boxes, indices = tf.ensure_shape(boxes, [None, 4]), tf.ensure_shape(indices, [None])
        with tf.GradientTape() as tape:
            tape.watch(features)
            pooled = pool(features, boxes, indices, (2, 3), 0.5, sampling_ratio)
        assert pooled.shape.as_list() == [None, 2, 3, None]
        return pooled, tape.gradient(pooled, features)

    case = random_case(5)
    pooled, gradient = unknown(*case)
    expected = pool(*case, (2, 3), 0.5, sampling_ratio)
    unit = terms(sampling_ratio, case[0]) * EPS
    np.testing.assert_allclose(pooled, expected, rtol=0, atol=unit)
    np.testing.assert_allclose(
        gradient,
        gradient_of(pool, *case, np.ones(expected.shape), (2, 3), 0.5, sampling_ratio),
        rtol=2 * len(case[1]) * unit,
        atol=1e-30,
    )


def test_static_shapes_are_inferred(pool):
    seen = {}

    @tf.function
    def traced(features, boxes, indices):
        with tf.GradientTape() as tape:
            tape.watch(features)
            pooled = pool(features, boxes, indices, (2, 3))
        gradient = tape.gradient(pooled, features)
        seen.update(pooled=pooled.shape.as_list(), gradient=gradient.shape.as_list())
        return gradient

    traced.get_concrete_function(tf.TensorSpec([2, None, 5, 8]), tf.TensorSpec([None, 4]), tf.TensorSpec([6], tf.int32))
    assert seen["pooled"][1:] == [2, 3, 8]
    assert seen["gradient"] in ([2, None, 5, 8], [None, None, None, 8])


@pytest.mark.parametrize("sampling_ratio", [0, 1, 2, 4])
def test_the_reference_compiles_under_xla(sampling_ratio):
    features, boxes, indices = random_case(6, count=16)
    args = ((2, 3), 0.5, sampling_ratio)

    @tf.function(jit_compile=True)
    def compiled(features, boxes, indices):
        with tf.GradientTape() as tape:
            tape.watch(features)
            pooled = reference(features, boxes, indices, *args)
        return pooled, tape.gradient(pooled, features)

    pooled, gradient = compiled(features, boxes, indices)
    # XLA may contract the multiplications and additions of a position of up to 200 pixels, which moves it by an ulp and
    # with it the interpolation weights; that changes an output by the step between neighbours, at most 2.
    moved = 2 * 2 * 256 * EPS
    np.testing.assert_allclose(
        pooled, reference(features, boxes, indices, *args), rtol=0, atol=terms(sampling_ratio, features) * EPS + moved
    )
    expected = gradient_of(reference, features, boxes, indices, np.ones(pooled.shape), *args)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=len(boxes) * 6 * moved)


def test_the_dense_reference_in_chunks_equals_one_chunk(monkeypatch):
    from kseg_ops.reference import roi_align as module

    case = random_case(10)
    whole = reference(*case, 2, 1.0, 0)
    monkeypatch.setattr(module, "_CHUNK_ELEMENTS", 2 * 14 * 3 * 5)  # five boxes: 24 are no multiple
    np.testing.assert_allclose(reference(*case, 2, 1.0, 0), whole, rtol=0, atol=terms(0, case[0]) * EPS)


# -- invalid input -----------------------------------------------------------------------------------------------------

FEATURES = np.ones((2, 4, 5, 3), np.float32)
BOXES = np.array([[0, 0, 2, 2], [1, 1, 3, 3]], np.float32)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"features": np.ones((2, 4, 5, 3), np.int32)}, TypeError, "features must be float32, .* got int32"),
        ({"features": FEATURES[0]}, ValueError, r"features must have shape \[B, H, W, C\], got \(4, 5, 3\)"),
        ({"boxes": np.ones((2, 5), np.float32)}, ValueError, r"boxes must have shape \[K, 4\], got \(2, 5\)"),
        ({"boxes": BOXES.astype(np.float16)}, TypeError, "boxes must be float32, got float16.*autocast=False"),
        ({"box_indices": [0.0, 1.0]}, TypeError, "."),
        ({"box_indices": np.zeros(2, np.float32)}, TypeError, "box_indices must be integers, got float32"),
        ({"box_indices": [[0], [1]]}, ValueError, r"box_indices must have shape \[K\], got \(2, 1\)"),
        ({"box_indices": [0, 1, 1]}, ValueError, "box_indices must have one entry per box"),
        ({"output_size": 0}, ValueError, "output_size must be in 1..1048576, got 0"),
        ({"output_size": (3, -1)}, ValueError, "output_size must be in 1..1048576, got -1"),
        ({"output_size": 2.5}, TypeError, "output_size must be an integer, got 2.5"),
        ({"output_size": (1, 2, 3)}, ValueError, r"output_size must be an int or \(height, width\)"),
        ({"sampling_ratio": -1}, ValueError, "sampling_ratio must be in 0..128, got -1"),
        ({"sampling_ratio": 129}, ValueError, "sampling_ratio must be in 0..128, got 129"),
        ({"spatial_scale": 0}, ValueError, "spatial_scale must be positive and finite in float32, got 0"),
        ({"spatial_scale": float("nan")}, ValueError, "spatial_scale must be positive and finite"),
        ({"spatial_scale": 1e-60}, ValueError, "spatial_scale must be positive and finite in float32, got 1e-60"),
        ({"spatial_scale": 1e-38}, ValueError, "finite in float32, got 1e-38; the least is 1.1754944e-38"),
        ({"spatial_scale": "1"}, TypeError, "spatial_scale must be a Python number, got '1'"),
        ({"spatial_scale": True}, TypeError, "spatial_scale must be a Python number, got True"),
        ({"boxes": BOXES.astype(np.complex64)}, TypeError, "boxes must be float32, got complex64"),
        ({"boxes": BOXES.astype(bool)}, TypeError, "boxes must be float32, got bool"),
        ({"box_indices": [0, 2**70]}, ValueError, f"box_indices must be in 0..B-1, got {2**70}"),
    ],
)
def test_invalid_arguments(pool, change, error, message):
    given = {"features": FEATURES, "boxes": BOXES, "box_indices": [0, 1], "output_size": 2}
    with pytest.raises(error, match=message):
        pool(**{**given, **change})


@pytest.mark.parametrize("flag", ["False", 1, 0.0, None, tf.constant(True)], ids=["text", "1", "0.0", "None", "tensor"])
def test_a_flag_is_a_bool(pool, flag):
    with pytest.raises(TypeError, match="aligned must be True or False, got"):
        pool(FEATURES, BOXES, [0, 1], 2, aligned=flag)
    np.testing.assert_array_equal(
        pool(FEATURES, BOXES, [0, 1], 2, aligned=np.False_), pool(FEATURES, BOXES, [0, 1], 2, aligned=False)
    )


@pytest.mark.parametrize("index", [2, -1, 2**40])
def test_an_index_out_of_range_is_named(pool, index):
    named = min(index, 2**31 - 1)
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"(?s)box_indices must be in 0..B-1.*{named}"):
        pool(FEATURES, BOXES, np.array([0, index], np.int64), 2)


@pytest.mark.parametrize("index", [2**32 + 1, -(2**32)])
def test_indices_of_a_list_do_not_wrap_round(pool, index):
    named = max(min(index, 2**31 - 1), -(2**31))
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"(?s)box_indices must be in 0..B-1.*{named}"):
        pool(FEATURES, BOXES, [0, index], 2)


@pytest.mark.parametrize("dtype", [tf.uint8, tf.int16, tf.uint16, tf.uint32, tf.int64, tf.uint64])
def test_indices_of_other_integer_types(pool, dtype):
    features = np.stack([FEATURES[0], 2 * FEATURES[0]])
    expected = pool(features, BOXES, [0, 1], 2)
    np.testing.assert_array_equal(pool(features, BOXES, tf.constant([0, 1], dtype), 2), expected)
    np.testing.assert_array_equal(pool(features, BOXES, [tf.constant(0, dtype), tf.constant(1, dtype)], 2), expected)
    if dtype in (tf.uint32, tf.uint64):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?s)box_indices must be in 0..B-1.*2147483647"):
            pool(features, BOXES, tf.constant([0, dtype.max], dtype), 2)


def test_a_map_without_pixels_is_refused(pool):
    with pytest.raises(tf.errors.InvalidArgumentError, match="features must have at least one row and one column"):
        pool(np.ones((1, 0, 5, 3), np.float32), BOXES, [0, 0], 2)


def test_keras_tensors_are_refused():
    keras = pytest.importorskip("keras")
    with pytest.raises(TypeError, match=r"features is a KerasTensor.*Use kseg.layers.RoIAlign instead"):
        kseg_ops.roi_align(keras.Input((4, 5, 3)), BOXES, [0, 1], 2)


@pytest.mark.parametrize("sampling_ratio", [0, 2, 5])
def test_no_boxes_of_no_images_known_only_at_run_time(pool, sampling_ratio):
    signature = [
        tf.TensorSpec([None, None, None, 3]),
        tf.TensorSpec([None, 4]),
        tf.TensorSpec([None], tf.int32),
    ]

    def align(features, boxes, box_indices):
        return pool(features, boxes, box_indices, 7, sampling_ratio=sampling_ratio)

    graph = tf.function(align, input_signature=signature, autograph=False)
    for images in (0, 1):
        result = graph(tf.ones([images, 5, 5, 3]), tf.zeros([0, 4]), tf.zeros([0], tf.int32))
        assert result.shape == (0, 7, 7, 3)
