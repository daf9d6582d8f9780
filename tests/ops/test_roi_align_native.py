"""The compiled RoIAlign: equal to its reference on every instruction set, deterministic, strict about its inputs."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg_ops import _library
from tests.helpers.roi_align_cases import (
    CORE,
    EPS,
    gradient_of,
    needs_native,
    random_case,
    reference,
    terms,
)

pytestmark = needs_native

TARGETS = CORE.supported_simd_targets() if CORE else []
ONES = np.ones((2, 4, 5, 3), np.float32)
TWO_BOXES = np.array([[0, 0, 2, 2], [1, 1, 3, 3]], np.float32)


@functools.cache
def reference_answers(channels, sampling_ratio, aligned):
    """Output, gradient of an upstream gradient, and that of its absolute values."""
    case = random_case(channels, channels)
    args = (*case, (2, 3), 0.5, sampling_ratio, aligned)
    upstream = np.random.default_rng(1).uniform(-1, 1, (len(case[1]), 2, 3, channels)).astype(np.float32)
    gradients = [gradient_of(reference, *args[:3], given, *args[3:]) for given in (upstream, np.abs(upstream))]
    return args, upstream, reference(*args).numpy(), *gradients


@pytest.mark.parametrize("channels", [1, 3, 7, 16, 33, 150])
def test_native_equals_reference(target, channels):
    for sampling_ratio, aligned in itertools.product((0, 1, 2, 3), (True, False)):
        args, upstream, expected, expected_gradient, bound = reference_answers(channels, sampling_ratio, aligned)
        unit = 2 * terms(sampling_ratio, args[0]) * EPS
        np.testing.assert_allclose(kseg_ops.roi_align(*args), expected, rtol=0, atol=unit)
        gradient = gradient_of(kseg_ops.roi_align, *args[:3], upstream, *args[3:])
        assert np.all(np.abs(gradient - expected_gradient) <= 2 * len(upstream) * unit * bound + 1e-30)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_sixteen_bit_features_round_once(target, dtype):
    unit = {tf.float16: 2.0**-11, tf.bfloat16: 2.0**-8}[dtype]
    for channels in (1, 7, 33, 150):
        features, boxes, indices = random_case(channels, channels)
        features = tf.cast(features, dtype)
        pooled = kseg_ops.roi_align(features, boxes, indices, (3, 2))
        assert pooled.dtype == dtype
        # The same sums in float32, then one rounding to nearest; below 2**-14 a float16 is a multiple of 2**-24.
        exact = kseg_ops.roi_align(tf.cast(features, tf.float32), boxes, indices, (3, 2)).numpy()
        limit = unit * np.abs(exact) + 2.0**-25 + terms(2, features) * EPS
        assert np.all(np.abs(tf.cast(pooled, tf.float32).numpy() - exact) <= limit)

        upstream = tf.cast(np.random.default_rng(2).uniform(-1, 1, pooled.shape), dtype)
        ours = gradient_of(kseg_ops.roi_align, features, boxes, indices, upstream, (3, 2)).astype(np.float32)
        exact = gradient_of(kseg_ops.roi_align, tf.cast(features, tf.float32), boxes, indices, upstream, (3, 2))
        assert np.all(np.abs(ours - exact) <= unit * np.abs(exact) + 2.0**-25 + len(boxes) * terms(2, features) * EPS)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_the_reference_keeps_sixteen_bit_dtypes(dtype):
    features, boxes, indices = random_case(3)
    features = tf.cast(features, dtype)
    pooled = reference(features, boxes, indices, 2)
    expected = tf.cast(reference(tf.cast(features, tf.float32), boxes, indices, 2), dtype)
    assert pooled.dtype == dtype
    np.testing.assert_array_equal(tf.cast(pooled, tf.float32), tf.cast(expected, tf.float32))


def test_the_numpy_module_equals_the_op(target):
    for dtype in (np.float32, np.float64, np.float16):
        features, boxes, indices = random_case(4, 5, dtype=dtype)
        pooled = CORE.roi_align(features, boxes, indices, output_size=(3, 2), spatial_scale=0.5, sampling_ratio=0)
        expected = kseg_ops.roi_align(features, boxes, indices, (3, 2), 0.5, 0).numpy()
        assert pooled.dtype == dtype
        np.testing.assert_array_equal(pooled, expected)
        gradient = CORE.roi_align_grad(
            expected, boxes, indices, features_shape=features.shape, spatial_scale=0.5, sampling_ratio=0
        )
        np.testing.assert_array_equal(
            gradient, gradient_of(kseg_ops.roi_align, features, boxes, indices, expected, (3, 2), 0.5, 0)
        )


def test_a_native_forward_can_have_a_reference_backward():
    features, boxes, indices = (tf.constant(array) for array in random_case(9))
    upstream = tf.random.stateless_normal((len(boxes), 2, 2, 3), (1, 2))
    with tf.GradientTape() as tape:
        tape.watch(features)
        pooled = kseg_ops.roi_align(features, boxes, indices, 2)
    with kseg_ops.use_reference():
        gradient = tape.gradient(pooled, features, upstream)
    np.testing.assert_array_equal(gradient, gradient_of(reference, features, boxes, indices, upstream, 2))


@pytest.mark.parametrize("bins", [1, 7])
def test_backward_of_large_adaptive_bins(bins):
    # The mean of n**2 ones hands each pixel 1 / n**2 per bin, times what the bins share; a pixel sums at most two bins
    # per axis, so that only the rounding of weights counts.
    n = 1500
    features = np.ones((1, n, n, 1), np.float32)
    upstream = np.ones((1, bins, bins, 1), np.float32)
    gradient = gradient_of(kseg_ops.roi_align, features, [[0.0, 0, n, n]], [0], upstream, bins, 1.0, 0)
    # In float64, the whole gradient adds up to the whole of the upstream gradient.
    np.testing.assert_allclose(gradient.sum(dtype=np.float64), bins**2, rtol=16 * EPS)


def test_a_map_of_more_pixels_than_float32_counts():
    # A sample's number cannot be a float32 that is incremented: that stays at 2**24, and the loop would not end.
    length = 2**24 + 64
    pooled = kseg_ops.roi_align(tf.ones([1, 1, length, 1]), [[0.0, 0, length, 1]], [0], 1, sampling_ratio=0)
    # One row in blocks: 64 terms each and length / 64 blocks.
    np.testing.assert_allclose(pooled, [[[[1.0]]]], rtol=(64 + length / 64) * EPS / 2)


def test_backward_is_bitwise_equal_for_any_number_of_threads(target):
    generator = np.random.default_rng(3)
    height, width, channels, count = 60, 70, 40, 200
    corners = generator.uniform(0, 50, (count, 2))
    boxes = np.concatenate([corners, corners + generator.uniform(0.5, 40, (count, 2))], 1).astype(np.float32)
    indices = generator.integers(0, 2, count).astype(np.int32)
    shape = (2, height, width, channels)
    for dtype in (np.float32, np.float16):
        upstream = generator.uniform(-1, 1, (count, 7, 7, channels)).astype(dtype)
        results = []
        try:
            for threads in (1, 2, 3, 5, 2):
                CORE.set_num_threads(threads)
                results.append(CORE.roi_align_grad(upstream, boxes, indices, features_shape=shape))
        finally:
            CORE.set_num_threads(0)
        features = np.zeros(shape, dtype)
        results.append(gradient_of(kseg_ops.roi_align, features, boxes, indices, upstream, 7))
        assert np.abs(results[0]).max() > 1
        for result in results[1:]:
            assert result.tobytes() == results[0].tobytes()


def test_native_shape_function_merges_and_refuses():
    op = _library.native_op("roi_align")
    attributes = {"output_size": (2, 3), "spatial_scale": 1.0, "sampling_ratio": 2, "aligned": True}
    with tf.Graph().as_default():

        def given(shape, dtype=tf.float32):
            return tf.compat.v1.placeholder(dtype, shape)

        indices = given([6], tf.int32)
        pooled = op(features=given(None), boxes=given(None), box_indices=indices, **attributes)
        assert pooled.shape.as_list() == [6, 2, 3, None]
        features, boxes = given([2, 4, 5, 8]), given([None, 4])
        pooled = op(features=features, boxes=boxes, box_indices=given(None, tf.int32), **attributes)
        assert pooled.shape.as_list() == [None, 2, 3, 8]
        with pytest.raises(ValueError, match="must be rank 4"):
            op(features=given([4, 5, 8]), boxes=given([6, 4]), box_indices=indices, **attributes)
        with pytest.raises(ValueError, match="must be equal"):
            op(features=given([2, 4, 5, 8]), boxes=given([5, 4]), box_indices=indices, **attributes)
        with pytest.raises(ValueError, match="must be 4 but is 5"):
            op(features=given([2, 4, 5, 8]), boxes=given([6, 5]), box_indices=indices, **attributes)
        for wrong, message in (
            ({"output_size": (0, 3)}, "output_size must be in 1..1048576, got 0"),
            ({"output_size": (3,)}, "output_size must have two entries"),
            ({"sampling_ratio": -1}, "sampling_ratio must be in 0..128, got -1"),
            ({"spatial_scale": 0.0}, "spatial_scale must be positive and finite, got 0"),
        ):
            with pytest.raises(ValueError, match=message):
                op(features=given([2, 4, 5, 8]), boxes=given([6, 4]), box_indices=indices, **{**attributes, **wrong})


def test_native_gradient_op_checks_what_it_gets():
    grad = _library.native_op("roi_align_grad")
    given = {
        "output_gradient": tf.zeros([1, 2, 2, 3]),
        "boxes": tf.zeros([1, 4]),
        "box_indices": tf.zeros([1], tf.int32),
        "features_shape": tf.constant([1, 4, 4, 3]),
        "output_size": (2, 2),
    }
    assert grad(**given).shape == (1, 4, 4, 3)
    assert grad(**{**given, "features_shape": tf.constant([1, 4, 4, 3], tf.int64)}).shape == (1, 4, 4, 3)
    for wrong, message in (
        ({"features_shape": [1, 4, 4]}, "features_shape must have four entries"),
        ({"features_shape": [1, 4, -4, 3]}, "features_shape must not be negative, got -4"),
        ({"features_shape": [1, 4, 4, 2]}, "output_gradient must have shape .K, h, w, C. with K = 1 and C = 2, got"),
        ({"features_shape": [1, 2**30, 2**30, 3]}, "features_shape is too large"),
        ({"features_shape": [1, 0, 4, 3]}, "features_shape must have at least one row and one column"),
        ({"output_size": (2, 3)}, "must have the rows and columns of output_size"),
        ({"output_gradient": tf.zeros([2, 2, 3])}, "output_gradient must have rank 4"),
        ({"box_indices": [1]}, "box_indices must be in 0..B-1 with B = 1 images, got 1 for box 0"),
        ({"boxes": tf.zeros([2, 4])}, "one entry per box"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            grad(**{**given, **wrong})


def test_the_numpy_module_checks_what_it_gets():
    indices = np.array([0, 1], np.int32)
    with pytest.raises(ValueError, match=r"box_indices must be in 0..B-1 with B = 2 images, got 7 for box 1"):
        CORE.roi_align(ONES, TWO_BOXES, np.array([0, 7], np.int32), (2, 2))
    with pytest.raises(TypeError, match="boxes must be float32, got float64"):
        CORE.roi_align(ONES, TWO_BOXES.astype(np.float64), indices, (2, 2))
    with pytest.raises(TypeError, match="features must be one of float32"):
        CORE.roi_align(ONES.astype(np.int32), TWO_BOXES, indices, (2, 2))
    with pytest.raises(ValueError, match="features must have rank 4, got rank 3"):
        CORE.roi_align(ONES[0], TWO_BOXES, indices, (2, 2))
    with pytest.raises(ValueError, match=r"output_size must be in 1..1048576, got 0"):
        CORE.roi_align(ONES, TWO_BOXES, indices, (0, 2))
    for shape, message in (
        ((2, 4, -5, 3), "features_shape must not be negative, got -5"),
        ((2, 2**40, 2**40, 3), "features_shape is too large"),
        ((2, 4, 5, 4), "output_gradient must have shape .K, h, w, C. with K = 2 and C = 4, got"),
        ((2, 0, 5, 3), "features_shape must have at least one row and one column"),
    ):
        with pytest.raises(ValueError, match=message):
            CORE.roi_align_grad(np.ones((2, 2, 2, 3), np.float32), TWO_BOXES, indices, shape)
    with pytest.raises(ValueError, match="output_gradient must have rank 4, got 3"):
        CORE.roi_align_grad(np.ones((2, 2, 3), np.float32), TWO_BOXES, indices, (2, 4, 5, 3))
