"""The compiled batched_nms: equal to the reference to the bit on every instruction set and for any threads."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
import kseg_ops.numpy
from kseg_ops import _library
from tests.helpers.nms_cases import (
    KINDS,
    assert_same,
    hostile_boxes,
    hostile_scores,
    random_boxes,
    with_reference,
)

CORE = _library.core()
pytestmark = pytest.mark.skipif(CORE is None, reason="the compiled library is not in use")

reference_batched = with_reference(kseg_ops.batched_nms)


def scores_of(generator, *shape, ties=True) -> np.ndarray:
    scores = generator.uniform(0, 1, shape)
    return (np.round(scores, 1) if ties else scores).astype(np.float32)


@cache
def batched_cases(layout, kind, kernel):
    generator = np.random.default_rng(4)
    cases = []
    for rows, grid, most, cap in ((37, 0, 50, None), (33, 5, 20, 5)):
        shape = (2, rows) if layout in ("one class", "class ids") else (2, rows, 3)
        boxes = random_boxes(generator, *(shape if layout == "boxes per class" else shape[:2]), grid=grid)
        scores = scores_of(generator, *shape, ties=bool(grid))
        options = {
            "iou_threshold": 0.3,
            "score_threshold": 0.05 if cap else None,
            "max_output_size": most,
            "max_per_class": cap,
            "kind": kind,
            "matrix_kernel": kernel,
            "class_agnostic": layout == "agnostic",
        }
        if layout == "class ids":
            options["class_ids"] = generator.integers(-1, 4, shape).astype(np.int32)
        expected = reference_batched(boxes, scores, **options)
        assert np.all(expected.num_valid > 3)
        cases.append(((boxes, scores), options, expected))
    return cases


@cache
def batched_hostile_cases(kind, kernel):
    boxes = hostile_boxes()[None]
    count = boxes.shape[1]
    cases = []
    for scores in (hostile_scores(count)[None], np.linspace(1, 0, count)[None], np.full((1, count), 1.2e-38)):
        for sigma in (1e-6, 0.5, 1e6):
            options = {"max_output_size": 50, "kind": kind, "matrix_kernel": kernel, "sigma": sigma}
            args = (boxes, scores, 0.0)
            cases.append((args, options, reference_batched(*args, **options)))
    return cases


@pytest.mark.parametrize(("kind", "kernel"), KINDS)
@pytest.mark.parametrize("layout", ["one class", "classes", "boxes per class", "class ids", "agnostic"])
def test_batched_equals_the_reference(target, layout, kind, kernel):
    for args, options, expected in batched_cases(layout, kind, kernel):
        assert_same(kseg_ops.batched_nms(*args, **options), expected)
        assert_same(kseg_ops.numpy.batched_nms(*args, **options), expected)


@pytest.mark.parametrize(("kind", "kernel"), KINDS)
def test_batched_hostile_numbers_equal_the_reference(target, kind, kernel):
    for args, options, expected in batched_hostile_cases(kind, kernel):
        assert_same(kseg_ops.batched_nms(*args, **options), expected)
        assert_same(kseg_ops.numpy.batched_nms(*args, **options), expected)


@pytest.mark.parametrize(("kind", "kernel"), KINDS)
def test_hostile_numbers_where_subnormal_ones_count_as_zero(kind, kernel):
    """As in the threads of a data pipeline."""
    for args, options, expected in batched_hostile_cases(kind, kernel)[::4]:
        boxes, scores, threshold = args
        data = tf.data.Dataset.from_tensors((boxes, scores.astype(np.float32)))
        for form in (kseg_ops.batched_nms, reference_batched):
            mapped = data.map(lambda boxes, scores, form=form: form(boxes, scores, threshold, **options))  # noqa: B023
            assert_same(next(iter(mapped)), expected)


@pytest.mark.parametrize(("kind", "kernel"), KINDS)
def test_stopping_early_changes_nothing(target, kind, kernel):
    """The first places of many are the places of few; 6000 candidates are more than is sorted at once."""
    generator = np.random.default_rng(5)
    corners = generator.uniform(0, 200, (1, 2000, 2))
    boxes = np.concatenate([corners, corners + generator.uniform(4, 40, (1, 2000, 2))], -1).astype(np.float32)
    scores = np.round(generator.uniform(0, 1, (1, 2000, 3)), 3)
    options = {"kind": kind, "matrix_kernel": kernel, "score_threshold": 0.1}
    for cap in (None, 11):
        whole = kseg_ops.numpy.batched_nms(boxes, scores, 0.4, max_output_size=6000, max_per_class=cap, **options)
        few = min(int(whole.num_valid[0]), 30)
        assert few == 30
        part = kseg_ops.numpy.batched_nms(boxes, scores, 0.4, max_output_size=few, max_per_class=cap, **options)
        for name in ("boxes", "scores", "classes", "indices"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[:, :few])
        found = whole.scores[0, : whole.num_valid[0]]
        assert np.all(found[1:] <= found[:-1])


@pytest.mark.parametrize("images", [1, 5])
def test_bitwise_equal_for_any_number_of_threads(target, images):
    generator = np.random.default_rng(6)
    corners = generator.uniform(0, 400, (images, 1500, 2))
    boxes = np.concatenate([corners, corners + generator.uniform(4, 60, (images, 1500, 2))], -1).astype(np.float32)
    scores = generator.uniform(0, 1, (images, 1500, 2)).astype(np.float32)
    for kind, kernel in KINDS:
        results = []
        singles = []
        try:
            for threads in (1, 2, 3, 5, 2):
                CORE.set_num_threads(threads)
                results.append(
                    kseg_ops.numpy.batched_nms(
                        boxes, scores, max_output_size=900, kind=kind, matrix_kernel=kernel, score_threshold=0.01
                    )
                )
                singles.append(kseg_ops.numpy.nms(boxes[0], scores[0, :, 0], 0.6))
        finally:
            CORE.set_num_threads(0)
        results.append(
            kseg_ops.batched_nms(
                boxes, scores, max_output_size=900, kind=kind, matrix_kernel=kernel, score_threshold=0.01
            )
        )
        singles.append(kseg_ops.nms(boxes[0], scores[0, :, 0], 0.6).numpy())
        assert results[0].num_valid.min() > 400
        for result in results[1:]:
            assert_same(result, results[0])
        assert len(singles[0]) > 600
        assert all(np.array_equal(single, singles[0]) for single in singles)


# -- what the raw op checks --------------------------------------------------------------------------------------------

CHECKS = (
    ({"boxes": np.zeros((2, 3, 5), np.float32)}, "the last axis of boxes must be 4, got 5"),
    ({"scores": np.zeros((2, 4), np.float32)}, "scores must have the images and rows of boxes, 2 and 3, got 2 and 4"),
    ({"scores": np.zeros((2, 3, 0), np.float32)}, "scores must have at least one class, got 0"),
    ({"boxes": np.zeros((2, 3, 2, 4), np.float32)}, "boxes must be one per row or one for each of the 1 classes"),
    ({"class_ids": np.zeros((2, 2), np.int32)}, "class_ids must have the shape of scores, 2 x 3, got 2 x 2"),
    (
        {"scores": np.zeros((2, 3, 2), np.float32), "class_ids": np.zeros((2, 3), np.int32)},
        "class_ids must not be given",
    ),
    ({"boxes": np.zeros((2, 3), np.float32)}, "boxes must have rank"),
    ({"scores": np.zeros(3, np.float32)}, "scores must have rank"),
    ({"class_ids": np.zeros(3, np.int32)}, "class_ids must have rank 2"),
    (
        {"boxes": np.zeros((2**20, 0, 4), np.float32), "scores": np.zeros((2**20, 0), np.float32)},
        "max_output_size times the number of images must be at most 67108864, got 100 x 1048576",
    ),
)


@pytest.mark.parametrize(("change", "message"), CHECKS)
def test_batched_checks_at_run_time(change, message):
    given = {
        "boxes": np.zeros((2, 3, 4), np.float32),
        "scores": np.zeros((2, 3), np.float32),
        "class_ids": np.zeros((0, 0), np.int32),
        "iou_threshold": 0.5,
        "score_threshold": 0.0,
        "max_output_size": 100,
    }
    with pytest.raises(ValueError, match=message):
        CORE.batched_nms(**{**given, **change})
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        _library.native_op("batched_nms")(**{**given, **change})
