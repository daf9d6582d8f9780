"""The references of suppression take candidates by tiles: the same picks as one after the other, across tiles too."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg_ops.reference.suppression import Corners, iou, pick, prepare
from kseg_ops.reference.tiled_suppression import matrix_worst, pick_tiled
from tests.helpers.nms_cases import random_boxes


def candidates(count, groups=1, seed=0, images=2, spread=1.0):
    """Corners, scores with many ties, groups, and who can be picked."""
    generator = np.random.default_rng(seed)
    boxes = random_boxes(generator, images, count) * np.float32(spread)
    scores = (generator.integers(0, 2 * count, (images, count)) / count).astype(np.float32)
    return (
        prepare(tf.constant(boxes)),
        tf.constant(scores),
        tf.constant(generator.integers(0, groups, (images, count)), tf.int32),
        tf.constant(generator.random((images, count)) < 0.9),
    )


def one_by_one(corners, scores, groups, alive, most, most_per_group, threshold):
    """The loop over picks, each of which throws out what it overlaps."""

    def lower(scores, alive, overlap, same):
        return scores, alive & ~(same & (overlap > max(threshold, 2.0**-126)))

    return pick(corners, scores, groups, alive, most, most_per_group, None if corners is None else lower)


def assert_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("count", [1, 128, 129, 300])
@pytest.mark.parametrize(("groups", "limit"), [(1, -1), (1, 5), (4, -1), (4, 30)])
def test_equals_one_pick_after_the_other(count, groups, limit):
    for most in (1, 129, count):
        given = (*candidates(count, groups, seed=count), most, limit)
        assert_equal(pick_tiled(*given, 0.3), one_by_one(*given, 0.3))
        assert_equal(pick_tiled(None, *given[1:], 0.3), one_by_one(None, *given[1:], 0.3))


@pytest.mark.parametrize("forward", [True, False], ids=["better ones left", "better ones right"])
def test_a_chain_through_all_tiles(forward):
    """Each box overlaps only its neighbours: every second one stays, and none is settled before the one it hangs on."""
    count = 700
    x = np.arange(count, dtype=np.float32) * 6
    boxes = np.stack([x, 0 * x, x + 10, 0 * x + 10], 1)[None]
    scores = (x[::-1] if forward else x)[None] + 1
    picked, _ = pick_tiled(
        prepare(tf.constant(boxes)), tf.constant(scores), tf.zeros([1, count], tf.int32), tf.ones([1, count], tf.bool),
        count, -1, 0.2,
    )  # fmt: skip
    expected = np.arange(0, count, 2) if forward else np.arange(count - 1, -1, -2)
    np.testing.assert_array_equal(picked[0, :350], expected)
    assert (picked[0, 350:].numpy() == -1).all()


def test_images_that_end_at_different_tiles():
    """One image has its picks after the first tile, one has no candidate, one goes on to the last."""
    corners, scores, groups, _ = candidates(400, images=3, spread=1.0)
    few = Corners(*(tf.concat([part[:1], part[1:2], part[2:] * 0], 0) for part in corners))
    alive = tf.constant(np.array([[True], [False], [True]]) & np.ones((3, 400), bool))
    for most in (3, 300):
        given = (few, scores, groups, alive, most, -1)
        assert_equal(pick_tiled(*given, 0.1), one_by_one(*given, 0.1))


@pytest.mark.parametrize("gaussian", [True, False])
@pytest.mark.parametrize(("images", "count", "groups"), [((2,), 300, 3), ((2, 5), 150, 1), ((1,), 1, 1), ((0,), 4, 1)])
def test_matrix_equals_the_definition(gaussian, images, count, groups):
    shape = (*images, count)
    flat = candidates(int(np.prod(shape)), groups, images=1)
    corners = Corners(*(tf.reshape(part, shape) for part in flat[0]))
    scores, group, alive = (tf.reshape(part, shape) for part in flat[1:])
    found = matrix_worst(corners, scores, group, alive, gaussian).numpy()
    overlap = iou(Corners(*(part[..., None] for part in corners)), Corners(*(part[..., None, :] for part in corners)))
    score, who, label = scores.numpy(), alive.numpy(), group.numpy()
    index = np.arange(count)
    better = (score[..., :, None] > score[..., None, :]) | (
        (score[..., :, None] == score[..., None, :]) & (index[:, None] < index)
    )
    better &= who[..., :, None] & who[..., None, :] & (label[..., :, None] == label[..., None, :])
    overlap = np.where(better, overlap, np.float32(0))
    covered = overlap.max(-2, initial=0)[..., None]
    if gaussian:
        expected = (overlap * overlap - covered * covered).max(-2, initial=0)
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            quotient = (1 - overlap) / (1 - covered)
        expected = np.where(covered < 1, quotient, np.float32(1)).min(-2, initial=1)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", ["hard", "matrix"])
def test_tiles_under_xla(kind):
    generator = np.random.default_rng(3)
    boxes, scores = random_boxes(generator, 1, 300), generator.random((1, 300)).astype(np.float32)

    def suppress(boxes, scores):
        with kseg_ops.use_reference():
            return kseg_ops.batched_nms(boxes, scores, iou_threshold=0.3, max_output_size=200, kind=kind)

    compiled = tf.function(suppress, jit_compile=True)(boxes, scores)
    for one, other in zip(compiled, suppress(boxes, scores), strict=True):
        np.testing.assert_array_equal(one, other)
