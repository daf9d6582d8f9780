"""The compiled nms: equal to the reference to the bit on every instruction set and for any threads."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
import kseg_ops.numpy
from kseg_ops import _library
from tests.helpers.nms_cases import (
    hostile_boxes,
    hostile_scores,
    random_boxes,
    scalar_nms,
    with_reference,
)

CORE = _library.core()
pytestmark = pytest.mark.skipif(CORE is None, reason="the compiled library is not in use")

reference_nms = with_reference(kseg_ops.nms)


def scores_of(generator, *shape, ties=True) -> np.ndarray:
    scores = generator.uniform(0, 1, shape)
    return (np.round(scores, 1) if ties else scores).astype(np.float32)


# -- nms ---------------------------------------------------------------------------------------------------------------


@cache  # the reference is slow, and the same for every target
def random_cases(count: int):
    generator = np.random.default_rng(count)
    cases = []
    for grid, threshold in ((0, 0.2), (5, 0.5), (5, 0.0)):
        boxes, scores = random_boxes(generator, count, grid=grid), scores_of(generator, count)
        args = (boxes, scores, threshold, None, None, generator.integers(-1, 3, count).astype(np.int32))
        cases.append((args, reference_nms(*args).numpy()))
    return cases


@pytest.mark.parametrize("count", [1, 3, 15, 16, 17, 63, 64, 65, 130])
def test_nms_equals_the_reference(target, count):
    for args, expected in random_cases(count):
        np.testing.assert_array_equal(kseg_ops.nms(*args), expected)
        np.testing.assert_array_equal(kseg_ops.numpy.nms(*args), expected)


def many_boxes(name: str) -> np.ndarray:
    """Thousands of boxes, so spread that more than a thousand are kept: then they are sorted into cells."""
    generator = np.random.default_rng(1)
    corners, sizes = generator.uniform(0, 500, (3000, 2)), generator.uniform(2, 30, (3000, 2))
    if name == "scales":
        sizes = np.exp(generator.uniform(-8, 8, (3000, 2)))
    elif name == "column":
        corners[:, 0], sizes[:, 0] = 7, 3
        corners[:, 1] *= 40
    elif name == "outliers":
        corners[1500:] += generator.choice([-1e6, 0, 1e5], (1500, 1))
    elif name == "repeated":
        corners, sizes = np.repeat(corners[:1500], 2, axis=0), np.repeat(sizes[:1500], 2, axis=0)
        corners[1::2] += generator.uniform(-1, 1, (1500, 2))
    return np.concatenate([corners, corners + sizes], 1).astype(np.float32)


@cache
def many_kept(name: str, threshold: float):
    """Boxes, scores and what is kept, by the rule with a row of overlaps at a time."""
    boxes = many_boxes(name)
    scores = np.round(np.random.default_rng(2).normal(size=3000), 2).astype(np.float32)
    # The outliers come last, when the cells are laid out already.
    scores = -np.sort(-scores) if name == "outliers" else scores
    alive = np.ones(3000, bool)
    kept = []
    x1, y1, x2, y2 = boxes.T
    areas = (x2 - x1) * (y2 - y1)
    for i in np.argsort(-scores, kind="stable"):
        if not alive[i]:
            continue
        kept.append(i)
        width = np.maximum(np.minimum(x2, x2[i]) - np.maximum(x1, x1[i]), 0)
        height = np.maximum(np.minimum(y2, y2[i]) - np.maximum(y1, y1[i]), 0)
        shared = width * height
        alive &= ~(shared / (areas + areas[i] - shared) > np.float32(threshold))
    return boxes, scores, kept


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("name", ["plain", "scales", "column", "outliers", "repeated"])
def test_many_boxes_equal_the_rule(target, name, threshold):
    boxes, scores, expected = many_kept(name, threshold)
    assert len(expected) > 1100 or threshold == 0
    assert len(expected) < 3000 or name == "scales"
    np.testing.assert_array_equal(kseg_ops.numpy.nms(boxes, scores, threshold), expected)
    np.testing.assert_array_equal(kseg_ops.numpy.nms(boxes, scores, threshold, 50), expected[:50])


def test_ious_within_a_unit_of_the_threshold(target):
    """The quick test without a division must never refuse what the division would accept."""
    generator = np.random.default_rng(2)
    pairs = random_boxes(generator, 400, 2)
    pairs[:, 1] = pairs[:, 0] + generator.uniform(-2, 2, (400, 4)).astype(np.float32)
    scores = np.array([0.9, 0.8], np.float32)
    none = np.zeros(0, np.int32)
    decided = 0
    for pair in pairs:
        pair = np.ascontiguousarray(pair)
        alone = CORE.nms(pair, scores, none, 0.0, -np.inf)
        if len(alone) == 2:
            continue
        x1, y1 = np.maximum(pair[0, :2], pair[1, :2])
        x2, y2 = np.minimum(pair[0, 2:], pair[1, 2:])
        areas = (pair[:, 2] - pair[:, 0]) * (pair[:, 3] - pair[:, 1])
        shared = (x2 - x1) * (y2 - y1)
        iou = shared / (areas[0] + areas[1] - shared)
        assert len(CORE.nms(pair, scores, none, float(iou), -np.inf)) == 2
        assert len(CORE.nms(pair, scores, none, float(np.nextafter(iou, np.float32(0))), -np.inf)) == 1
        decided += 1
    assert decided > 100


@cache
def hostile_cases():
    boxes = hostile_boxes()
    count = len(boxes)
    hostile, falling = hostile_scores(count), np.linspace(1, 0, count)
    chosen = [(scores, threshold, None) for scores in (hostile, falling) for threshold in (0.0, 1e-40, 0.3, 1.0)]
    chosen += [(hostile, 0.3, score_threshold) for score_threshold in (0.0, -1e-40, 1.2e-38, -np.inf, np.inf)]
    cases = []
    for scores, threshold, score_threshold in chosen:
        args = (boxes, scores, threshold, None, score_threshold)
        cases.append((args, reference_nms(*args).numpy()))
    return cases


def test_hostile_numbers_equal_the_reference(target):
    for args, expected in hostile_cases():
        for form in (kseg_ops.nms, kseg_ops.numpy.nms):
            np.testing.assert_array_equal(form(*args), expected)


def test_sparse_class_ids(target):
    generator = np.random.default_rng(3)
    boxes, scores = random_boxes(generator, 80), scores_of(generator, 80)
    ids = generator.choice([-(2**31), -1, 0, 5, 2**20, 2**31 - 1], 80)
    allowed = np.flatnonzero(ids >= 0)
    expected = allowed[scalar_nms(boxes[allowed], scores[allowed], 0.3, ids[allowed])]
    np.testing.assert_array_equal(kseg_ops.nms(boxes, scores, 0.3, class_ids=ids), expected)


# -- what the raw ops check --------------------------------------------------------------------------------------------


def test_shape_functions():
    nms, batched = _library.native_op("nms"), _library.native_op("batched_nms")
    with tf.Graph().as_default():

        def given(shape, dtype=tf.float32):
            return tf.compat.v1.placeholder(dtype, shape)

        thresholds = {"iou_threshold": 0.5, "score_threshold": 0.0}
        none = given([0], tf.int32)
        kept = nms(boxes=given(None), scores=given(None), class_ids=given(None, tf.int32), **thresholds)
        assert kept.shape.as_list() == [None]
        for boxes, scores, ids, message in (
            ([3], [3], none, "must be rank 2"),
            ([3, 5], [3], none, "must be 4 but is 5"),
            ([3, 4], [3, 1], none, "must be rank 1"),
            ([3, 4], [2], none, "must be equal"),
            ([3, 4], [3], given([2], tf.int32), "must be equal"),
        ):
            with pytest.raises(ValueError, match=message):
                nms(boxes=given(boxes), scores=given(scores), class_ids=ids, **thresholds)
        for wrong, message in (
            ({"iou_threshold": 1.5}, "iou_threshold must be in 0..1, got 1.5"),
            ({"iou_threshold": float("nan")}, "iou_threshold must be in 0..1, got -?nan"),
            ({"score_threshold": float("nan")}, "score_threshold must be a number, got NaN"),
        ):
            with pytest.raises(ValueError, match=message):
                nms(boxes=given([3, 4]), scores=given([3]), class_ids=none, **{**thresholds, **wrong})

        options = {**thresholds, "max_output_size": 7}
        none = given([0, 0], tf.int32)
        for boxes, scores, ids, images in (
            (None, None, None, None),
            ([2, 3, 4], None, None, 2),
            (None, [2, 3], None, 2),
            ([None, 3, 5, 4], [2, None, 5], [0, 0], 2),
            ([None, 3, 1, 4], [None, None, 5], [0, 0], None),
            ([None, 3, 4], [None, None], [2, 3], 2),
        ):
            found = batched(boxes=given(boxes), scores=given(scores), class_ids=given(ids, tf.int32), **options)
            shapes = [output.shape.as_list() for output in found]
            assert shapes == [[images, 7, 4], [images, 7], [images, 7], [images, 7], [images]]
        for boxes, scores, ids, message in (
            ([3, 4], [3], none, "must be at least rank 3"),
            ([1, 1, 1, 3, 4], [3, 1], none, "must be at most rank 4"),
            ([2, 3, 5], [2, 3], none, "must be 4 but is 5"),
            ([2, 3, 4], [2, 3, 1, 1], none, "must be at most rank 3"),
            ([2, 3, 4], [2, 2], none, "must be equal"),
            ([2, 3, 5, 4], [2, 3, 6], none, "must be equal"),
            ([2, 3, 4], [2, 3], given([2, 4], tf.int32), "must be equal"),
        ):
            with pytest.raises(ValueError, match=message):
                batched(boxes=given(boxes), scores=given(scores), class_ids=ids, **options)
        for wrong, message in (
            ({"max_output_size": 0}, "max_output_size must be in 1..1048576, got 0"),
            ({"max_output_size": 2**40}, "max_output_size must be in 1..1048576"),
            ({"max_per_class": 0}, "max_per_class must be at least 1, got 0"),
            ({"sigma": 0.0}, "sigma must be in 1e-6..1e6, got 0"),
            ({"sigma": float("nan")}, "sigma must be in 1e-6..1e6, got -?nan"),
            ({"method": "soft"}, "method must be hard, linear, .*, got soft"),
        ):
            with pytest.raises(ValueError, match=message):
                batched(boxes=given([2, 3, 4]), scores=given([2, 3]), class_ids=none, **{**options, **wrong})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": np.zeros((3, 5), np.float32)}, r"boxes must have shape \[N, 4\], got \[3, 5\]"),
        ({"boxes": np.zeros(4, np.float32)}, "boxes must have rank 2"),
        ({"scores": np.zeros(2, np.float32)}, "scores must have one entry per box, got 2 for 3 boxes"),
        ({"scores": np.zeros((3, 1), np.float32)}, "scores must have rank 1"),
        ({"class_ids": np.zeros(2, np.int32)}, "class_ids must have one entry per box, got 2 for 3 boxes"),
        ({"class_ids": np.zeros((), np.int32)}, "class_ids must have rank 1"),
    ],
)
def test_nms_checks_at_run_time(change, message):
    given = {
        "boxes": np.zeros((3, 4), np.float32),
        "scores": np.zeros(3, np.float32),
        "class_ids": np.zeros(0, np.int32),
        "iou_threshold": 0.5,
        "score_threshold": 0.0,
    }
    with pytest.raises(ValueError, match=message):
        CORE.nms(**{**given, **change})
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        _library.native_op("nms")(**{**given, **change})


def test_the_numpy_forms_refuse_what_the_ops_refuse():
    boxes, scores = np.zeros((3, 4), np.float32), np.zeros(3, np.float32)
    with pytest.raises(ValueError, match="class_ids must have one entry per box"):
        kseg_ops.numpy.nms(boxes, scores, 0.5, class_ids=[])
    with pytest.raises(TypeError, match="scores must be floating, got int64"):
        kseg_ops.numpy.nms(boxes, scores.astype(np.int64), 0.5)
    with pytest.raises(ValueError, match=r"iou_threshold must be in 0..1, got 3"):
        kseg_ops.numpy.nms(boxes, scores, 3)
    with pytest.raises(ValueError, match="class_ids must have the shape of scores"):
        kseg_ops.numpy.batched_nms(boxes[None], scores[None, :, None], class_ids=[[0, 0, 0]])
    with pytest.raises(ValueError, match=r"max_output_size must be in 1..1048576, got 0"):
        kseg_ops.numpy.batched_nms(boxes[None], scores[None], max_output_size=0)
