"""The compiled multi-level RoIAlign: equal to its reference on every instruction set, deterministic, strict."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
import kseg_ops.numpy
from kseg_ops import _library
from kseg_ops._pyramid import level_areas, spatial_scales
from tests.helpers.multilevel_roi_align_cases import CORE, EPS, gradients_of, needs_native, random_case, reference

pytestmark = needs_native

# Per bin at most all pixels of the finest level of random_case; each product is rounded once and added once.
UNIT = 2 * (2 * 23 * 30 + 8) * EPS


@functools.cache
def reference_answers(channels, sampling_ratio, aligned):
    """Arguments, upstream gradient, output, gradients of it and of its absolute values."""
    features, boxes = random_case(channels, channels)
    args = ((2, 3), sampling_ratio, aligned)
    upstream = np.random.default_rng(1).uniform(-1, 1, (*boxes.shape[:2], 2, 3, channels)).astype(np.float32)
    gradients = [gradients_of(reference, features, boxes, given, *args) for given in (upstream, np.abs(upstream))]
    return features, boxes, args, upstream, reference(features, boxes, *args).numpy(), *gradients


@pytest.mark.parametrize("channels", [1, 7, 33, 150])
def test_native_equals_reference(target, channels):
    for sampling_ratio, aligned in ((0, True), (1, False), (2, True), (2, False)):
        features, boxes, args, upstream, expected, expected_gradients, bounds = reference_answers(
            channels, sampling_ratio, aligned
        )
        np.testing.assert_allclose(kseg_ops.multilevel_roi_align(features, boxes, *args), expected, rtol=0, atol=UNIT)
        gradients = gradients_of(kseg_ops.multilevel_roi_align, features, boxes, upstream, *args)
        for name, gradient in gradients.items():
            limit = 2 * boxes.shape[1] * UNIT * bounds[name] + 1e-30
            assert np.all(np.abs(gradient - expected_gradients[name]) <= limit)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_sixteen_bit_features_round_once(target, dtype):
    unit = {tf.float16: 2.0**-11, tf.bfloat16: 2.0**-8}[dtype]
    for channels in (1, 7, 33, 300):
        features, boxes = random_case(channels, channels)
        features = {name: tf.cast(level, dtype) for name, level in features.items()}
        wide = {name: tf.cast(level, tf.float32) for name, level in features.items()}
        pooled = kseg_ops.multilevel_roi_align(features, boxes, (3, 2))
        assert pooled.dtype == dtype
        # The same sums in float32, then one rounding to nearest; below 2**-14 a float16 is a multiple of 2**-24.
        exact = kseg_ops.multilevel_roi_align(wide, boxes, (3, 2)).numpy()
        limit = unit * np.abs(exact) + 2.0**-25 + 40 * EPS
        assert np.all(np.abs(tf.cast(pooled, tf.float32).numpy() - exact) <= limit)

        upstream = tf.cast(np.random.default_rng(2).uniform(-1, 1, pooled.shape), dtype)
        ours = gradients_of(kseg_ops.multilevel_roi_align, features, boxes, upstream, (3, 2))
        exact = gradients_of(kseg_ops.multilevel_roi_align, wide, boxes, upstream, (3, 2))
        for name, gradient in ours.items():
            limit = unit * np.abs(exact[name]) + 2.0**-25 + boxes.shape[1] * 40 * EPS
            assert np.all(np.abs(gradient.astype(np.float32) - exact[name]) <= limit)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_the_reference_keeps_sixteen_bit_dtypes(dtype):
    features, boxes = random_case(3)
    features = {name: tf.cast(level, dtype) for name, level in features.items()}
    pooled = reference(features, boxes, 2)
    assert pooled.dtype == dtype
    wide = {name: tf.cast(level, tf.float32) for name, level in features.items()}
    np.testing.assert_array_equal(
        tf.cast(pooled, tf.float32), tf.cast(tf.cast(reference(wide, boxes, 2), dtype), tf.float32)
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_the_numpy_form_equals_the_op(dtype):
    features, boxes = random_case(4, 5, dtype=dtype)
    args = ((3, 2), 0, False, 100.5, 3)
    pooled = kseg_ops.numpy.multilevel_roi_align(features, boxes, *args)
    expected = kseg_ops.multilevel_roi_align(features, boxes, *args).numpy()
    assert pooled.dtype == dtype
    np.testing.assert_array_equal(pooled, expected)
    levels = (2, 3, 5)
    gradients = CORE.multilevel_roi_align_grad(
        expected,
        boxes,
        [features[f"P{level}"].shape for level in levels],
        spatial_scales(levels),
        level_areas(levels, 100.5, 3),
        0,
        False,
    )
    by_op = gradients_of(kseg_ops.multilevel_roi_align, features, boxes, expected, *args)
    for level, gradient in zip(levels, gradients, strict=True):
        np.testing.assert_array_equal(gradient, by_op[f"P{level}"])


def test_bitwise_equal_for_any_number_of_threads(target):
    generator = np.random.default_rng(3)
    levels, channels, count = (2, 3, 4), 40, 150
    corners = generator.uniform(0, 200, (2, count, 2))
    sizes = np.exp(generator.uniform(np.log(4), np.log(400), (2, count, 2)))
    boxes = np.concatenate([corners, corners + sizes], -1).astype(np.float32)
    given = (spatial_scales(levels), level_areas(levels, 224.0, 4))
    for dtype in (np.float32, np.float16):
        features = [generator.normal(size=(2, 256 >> n, 320 >> n, channels)).astype(dtype) for n in levels]
        upstream = generator.uniform(-1, 1, (2, count, 7, 7, channels)).astype(dtype)
        results = []
        try:
            for threads in (1, 2, 3, 5, 2):
                CORE.set_num_threads(threads)
                pooled = CORE.multilevel_roi_align(features, boxes, (7, 7), *given)
                gradients = CORE.multilevel_roi_align_grad(upstream, boxes, [f.shape for f in features], *given)
                results.append([pooled.tobytes(), *(gradient.tobytes() for gradient in gradients)])
        finally:
            CORE.set_num_threads(0)
        assert np.abs(gradients[0]).max() > 1
        assert all(result == results[0] for result in results[1:])


@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_few_boxes_that_are_cut_by_channels_give_the_same(target, sampling_ratio):
    features = np.random.default_rng(0).normal(size=(1, 40, 50, 700)).astype(np.float32)
    boxes = np.array([[3.3, 2.2, 48.1, 39.9]], np.float32)
    for dtype in (np.float32, np.float64, np.float16):
        answers = set()
        try:
            for threads in (1, 2, 4, 7):
                CORE.set_num_threads(threads)
                pooled = CORE.roi_align(
                    features.astype(dtype), boxes, np.zeros(1, np.int32), (1, 2), sampling_ratio=sampling_ratio
                )
                answers.add(pooled.tobytes())
        finally:
            CORE.set_num_threads(0)
        assert len(answers) == 1


@pytest.mark.parametrize("channels", [64, 80, 100])
def test_large_results_are_the_same_as_small_ones(target, channels):
    """Results of 8 MiB and more are written past the caches."""
    generator = np.random.default_rng(5)
    features = tf.constant(generator.normal(size=(1, 30, 30, channels)).astype(np.float32))
    corners = generator.uniform(-5, 25, (240, 2))
    boxes = np.concatenate([corners, corners + generator.uniform(0, 40, (240, 2))], 1).astype(np.float32)

    def pool(part):
        return kseg_ops.roi_align(features, part, np.zeros(len(part), np.int32), 14, 1.0, sampling_ratio=0).numpy()

    whole = pool(boxes)
    assert whole.nbytes > 8 << 20
    np.testing.assert_array_equal(whole, np.concatenate([pool(part) for part in np.split(boxes, 6)]))


# -- the raw op --------------------------------------------------------------------------------------------------------

ATTRIBUTES = {
    "output_size": (2, 3),
    "spatial_scales": [0.25, 0.125],
    "level_areas": [50.0],
    "sampling_ratio": 2,
    "aligned": True,
}
WRONG_ATTRIBUTES = [
    ({"output_size": (0, 3)}, "output_size must be in 1..1048576, got 0"),
    ({"output_size": (3,)}, "output_size must have two entries"),
    ({"sampling_ratio": -1}, "sampling_ratio must be in 0..128, got -1"),
    ({"spatial_scales": [0.25]}, "spatial_scales must have one entry per level, 2, got 1"),
    ({"spatial_scales": [0.25, 0.0]}, "spatial_scales must be positive and finite, got 0"),
    ({"level_areas": []}, "level_areas must have one entry fewer than there are levels, 1, got 0"),
    ({"level_areas": [float("nan")]}, "level_areas must rise and not be NaN, got nan"),
]


def test_native_shape_function_merges_and_refuses():
    op = _library.native_op("multilevel_roi_align")
    with tf.Graph().as_default():

        def call(first, second, boxes, **attributes):
            given = [tf.compat.v1.placeholder(tf.float32, shape) for shape in (first, second, boxes)]
            return op(features=given[:2], boxes=given[2], **{**ATTRIBUTES, **attributes}).shape.as_list()

        assert call(None, None, None) == [None, None, 2, 3, None]
        assert call([None, 4, 5, 8], [6, None, 3, None], [None, 9, 4]) == [6, 9, 2, 3, 8]
        for shapes, message in (
            (([4, 5, 8], None, None), "must be rank 4"),
            ((None, None, [5, 4]), "must be rank 3"),
            ((None, None, [5, 6, 5]), "must be 4 but is 5"),
            (([2, 4, 5, 8], [3, 4, 5, 8], None), "must be equal"),
            (([2, 4, 5, 8], [2, 4, 5, 7], None), "must be equal"),
            (([2, 4, 5, 8], None, [3, 6, 4]), "must be equal"),
        ):
            with pytest.raises(ValueError, match=message):
                call(*shapes)
        for wrong, message in WRONG_ATTRIBUTES:
            with pytest.raises(ValueError, match=message):
                call(None, None, None, **wrong)


def test_too_many_levels_are_refused():
    op = _library.native_op("multilevel_roi_align")
    with pytest.raises(tf.errors.InvalidArgumentError, match="features must have 1 to 32 levels, got 33"):
        op(
            features=[tf.zeros([1, 2, 2, 1])] * 33,
            boxes=tf.zeros([1, 1, 4]),
            **{**ATTRIBUTES, "spatial_scales": [1.0] * 33, "level_areas": [1.0] * 32},
        )


def test_native_gradient_op_checks_what_it_gets():
    grad = _library.native_op("multilevel_roi_align_grad")
    given = {
        "output_gradient": tf.zeros([1, 6, 2, 3, 5]),
        "boxes": tf.zeros([1, 6, 4]),
        "features_shapes": [tf.constant([1, 8, 8, 5]), tf.constant([1, 4, 4, 5])],
        **ATTRIBUTES,
    }
    assert [gradient.shape.as_list() for gradient in grad(**given)] == [[1, 8, 8, 5], [1, 4, 4, 5]]
    wide = [tf.cast(shape, tf.int64) for shape in given["features_shapes"]]
    assert grad(**{**given, "features_shapes": wide})[0].shape.as_list() == [1, 8, 8, 5]
    for wrong, message in (
        *WRONG_ATTRIBUTES,
        ({"features_shapes": [[1, 8, 8, 5], [1, 4, 4]]}, "features_shapes must have four entries, got 3"),
        ({"features_shapes": [[1, 8, 8, 5], [1, 4, -4, 5]]}, "features_shapes must not be negative, got -4"),
        ({"features_shapes": [[1, 8, 8, 5], [1, 2**30, 2**30, 5]]}, "features_shapes is too large"),
        ({"features_shapes": [[1, 8, 8, 5], [2, 4, 4, 5]]}, r"features_shapes\[1\] must have B = 1 and C = 5"),
        ({"features_shapes": [[1, 8, 8, 4], [1, 4, 4, 5]]}, r"features_shapes\[0\] must have B = 1 and C = 5"),
        (
            {"features_shapes": [[1, 8, 8, 5], [1, 0, 4, 5]]},
            r"features_shapes\[1\] must have at least one row",
        ),
        ({"output_size": (2, 2)}, "must have the rows and columns of output_size"),
        ({"output_gradient": tf.zeros([6, 2, 3, 5])}, "output_gradient must have rank 5"),
        ({"boxes": tf.zeros([1, 5, 4])}, "output_gradient must have shape .B, N, h, w, C. with B = 1 and N = 5"),
        ({"boxes": tf.zeros([1, 6, 5])}, r"boxes must have shape \[B, N, 4\], got \[1, 6, 5\]"),
        ({"boxes": tf.zeros([6, 4])}, "boxes must have rank 3"),
    ):
        with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=message):
            grad(**{**given, **wrong})


def test_a_level_without_columns_has_no_rows_to_go_through():
    gradients = CORE.multilevel_roi_align_grad(
        np.ones((1, 0, 2, 3, 5), np.float32),
        np.ones((1, 0, 4), np.float32),
        [(1, 2**31 - 1, 0, 5), (1, 4, 4, 5)],
        [0.25, 0.125],
        [50.0],
    )
    assert [gradient.shape for gradient in gradients] == [(1, 2**31 - 1, 0, 5), (1, 4, 4, 5)]
    assert not gradients[1].any()


def test_the_numpy_module_checks_what_it_gets():
    levels = [np.ones((1, 8, 8, 5), np.float32), np.ones((1, 4, 4, 5), np.float32)]
    boxes = np.ones((1, 6, 4), np.float32)
    rest = ((2, 3), [0.25, 0.125], [50.0])
    for args, error, message in (
        (([], boxes, *rest), ValueError, "features must have 1 to 32 levels, got 0"),
        ((levels, boxes.astype(np.float64), *rest), TypeError, "boxes must be float32, got float64"),
        ((levels, boxes[0], *rest), ValueError, "boxes must have rank 3, got rank 2"),
        (([levels[0], levels[1].astype(np.float64)], boxes, *rest), TypeError, "features must be float32, got float64"),
        (([levels[0].astype(int)] * 2, boxes, *rest), TypeError, "features must be one of float32"),
        ((levels, boxes, (2**20, 2**20), *rest[1:]), (MemoryError, ValueError), "."),
        ((levels[:1], boxes, *rest), ValueError, "spatial_scales must have one entry per level, 1, got 2"),
        (([levels[0], levels[1][..., :4]], boxes, *rest), ValueError, r"features\[1\] must have 5 channels"),
    ):
        with pytest.raises(error, match=message):
            CORE.multilevel_roi_align(*args)
    many = np.broadcast_to(np.float32(0), (1, 1, 1, 2**22))
    with pytest.raises(ValueError, match="output_size is too large"):
        CORE.multilevel_roi_align([many], boxes, (2**20, 2**20), [1.0], [])
    with pytest.raises(ValueError, match="output_size is too large"):
        CORE.roi_align(many, boxes[0], np.zeros(6, np.int32), (2**20, 2**20))
    gradient = np.ones((1, 6, 2, 3, 5), np.float32)
    for shapes, message in (
        ([(1, 8, 8, 5), (1, 4, -4, 5)], "features_shapes must not be negative"),
        ([(1, 8, 8, 5), (2, 4, 4, 5)], "features_shapes must have B = 1 and C = 5"),
        ([(1, 8, 8, 5), (1, 2**31, 2**31, 5)], "features_shapes is too large"),
    ):
        with pytest.raises(ValueError, match=message):
            CORE.multilevel_roi_align_grad(gradient, boxes, shapes, *rest[1:])
