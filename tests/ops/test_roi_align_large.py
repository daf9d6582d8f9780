"""Boxes whose bins cover many pixels, under adaptive sampling: these are pooled tile by tile of the map."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
import kseg_ops.numpy
from tests.helpers.roi_align_cases import CORE, needs_native, reference

HEIGHT, WIDTH = 61, 90


def mixed_boxes(count=40, seed=0):
    """Large and small ones in turn, some beyond the map or none at all, over two images."""
    generator = np.random.default_rng(seed)
    side = np.where(np.arange(count) % 3 == 0, generator.uniform(1, 12, count), generator.uniform(20, 110, count))
    centre = generator.uniform(0, [WIDTH, HEIGHT], (count, 2))
    shape = side[:, None] * generator.uniform(0.4, 1, (count, 2))
    boxes = np.concatenate([centre - shape / 2, centre + shape / 2], 1).astype(np.float32)
    boxes[5] = [-500, -400, 600, 700]
    boxes[7] = [200, 10, 400, 90]
    boxes[10] = [50, 50, 10, 10]
    boxes[11] = [0, 0, np.nan, 60]
    boxes[13] = [0, 0, np.inf, 60]
    return boxes, generator.integers(0, 2, count).astype(np.int32)


def features(channels, dtype=np.float32, seed=1):
    return np.random.default_rng(seed).uniform(-1, 1, (2, HEIGHT, WIDTH, channels)).astype(dtype)


@needs_native
@pytest.mark.parametrize("channels", [1, 5, 37, 150, 300])
@pytest.mark.parametrize("bins", [(3, 2), (7, 7), (1, 1)])
def test_equals_the_reference(target, channels, bins):
    boxes, indices = mixed_boxes()
    for dtype, unit in ((np.float64, 2.0**-53), (np.float32, 2.0**-24)):
        maps = features(channels, dtype)
        pooled = kseg_ops.roi_align(maps, boxes, indices, bins, 1.0, 0).numpy()
        expected = reference(maps, boxes, indices, bins, 1.0, 0).numpy()
        # Weights of a bin sum up to at most 1, features are below 1. Along an axis, a weight is a sum of at most four
        # terms from positions that are exact to 4 units at 700 of a pixel; then come sums over rows and columns.
        assert np.abs(pooled - expected).max() <= 2 * unit * (4 * 700 * 2 + HEIGHT + WIDTH)
        assert pooled[0].any()


@needs_native
def test_no_box_hangs_on_the_others_or_on_threads(target):
    boxes, indices = mixed_boxes(60, seed=3)
    maps = features(40)
    alone = [CORE.roi_align(maps, boxes[i : i + 1], indices[i : i + 1], (7, 7), 1.0, 0) for i in range(60)]
    try:
        for threads in (1, 2, 3, 5):
            CORE.set_num_threads(threads)
            pooled = CORE.roi_align(maps, boxes, indices, (7, 7), 1.0, 0)
            assert pooled.tobytes() == np.concatenate(alone).tobytes()
    finally:
        CORE.set_num_threads(0)


@needs_native
def test_more_bins_than_are_taken_at_once(target):
    """2**18 bins are; a box has 256 x 256 here, so that they go in two pieces."""
    maps = np.random.default_rng(0).uniform(-1, 1, (1, 5, 4, 1)).astype(np.float32)
    maps = np.kron(maps, np.ones((1, 600, 500, 1), np.float32))  # constant but at few borders
    boxes = np.tile(np.float32([0, 0, 2000, 3000]), (6, 1)) + np.arange(6, dtype=np.float32)[:, None]
    pooled = CORE.roi_align(maps, boxes, np.zeros(6, np.int32), (256, 256), 1.0, 0)
    for i in (0, 3, 4, 5):
        one = CORE.roi_align(maps, boxes[i : i + 1], np.zeros(1, np.int32), (256, 256), 1.0, 0)
        assert pooled[i].tobytes() == one[0].tobytes()
    # Away from the borders between the constants a bin is the constant; weights sum up to 1 but for rounding.
    np.testing.assert_allclose(pooled[0, 10, 10, 0], maps[0, 100, 100, 0], rtol=64 * 2.0**-23)


@needs_native
def test_of_a_pyramid(target):
    """Large boxes on each level, in one call: as each level by itself."""
    generator = np.random.default_rng(2)
    pyramid = {"P2": features(33), "P3": features(33, seed=2)[:, ::2, ::2]}
    centre, side = generator.uniform(0, 200, (2, 30, 2)), generator.uniform(60, 500, (2, 30, 1))
    boxes = np.concatenate([centre - side / 2, centre + side / 2], -1).astype(np.float32)
    pooled = kseg_ops.multilevel_roi_align(pyramid, boxes, 3, 0).numpy()
    with kseg_ops.use_reference():
        expected = kseg_ops.multilevel_roi_align(pyramid, boxes, 3, 0).numpy()
    assert np.abs(pooled - expected).max() <= 2 * 2.0**-24 * (4 * 700 * 2 + HEIGHT + WIDTH)
    area = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    assert 0 < np.mean(area < 224.0**2 / 2) < 1


@needs_native
@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_narrow_features(target, dtype):
    boxes, indices = mixed_boxes(20)
    maps = tf.cast(features(20), dtype)
    pooled = tf.cast(kseg_ops.roi_align(maps, boxes, indices, 2, 1.0, 0), tf.float32)
    wide = kseg_ops.roi_align(tf.cast(maps, tf.float32), boxes, indices, 2, 1.0, 0)
    # The same sums in float32, rounded once.
    np.testing.assert_array_equal(pooled, tf.cast(tf.cast(wide, dtype), tf.float32))
