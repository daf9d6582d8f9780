"""kseg_ops.coco_eval: the steps of COCO's evaluation. Against pycocotools: tests/metrics/test_coco_evaluator.py."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

import kseg_ops
import kseg_ops.numpy
from kseg_ops import _library, coco_eval, rle
from kseg_ops.reference import coco_eval as reference
from tests.fuzz.cases.coco_eval import CASES

CORE = _library.core()
both_forms = pytest.mark.usefixtures("rle_form")
ALL = [[0.0, 1e10]]


@both_forms
def test_box_iou_worked_out_by_hand():
    detections = [[0, 0, 2, 2], [0, 0, 4, 1], [5, 5, 1, 1]]
    truths = [[1, 1, 2, 2], [2, 0, 2, 4], [5, 5, 1, 1]]
    ious = coco_eval.box_iou(detections, truths, [0, 2, 3], [0, 2, 3])
    # Pixels in common over those of either: 1 of 7, none (they touch), none, 2 of 10; and the second group.
    assert ious.tolist() == [1 / 7, 0, 0, 2 / 10, 1]
    crowds = coco_eval.box_iou(detections, truths, [0, 2, 3], [0, 2, 3], [True, True, False])
    assert crowds.tolist() == [1 / 4, 0, 0, 2 / 4, 1]


@both_forms
def test_box_iou_equals_pycocotools():
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is the oracle")
    random = np.random.default_rng(0)
    detections, truths = (random.uniform(0, 50, (count, 4)) for count in (60, 40))
    crowd = random.random(40) < 0.3
    ours = coco_eval.box_iou(detections, truths, [0, 60], [0, 40], crowd)
    np.testing.assert_array_equal(ours.reshape(60, 40), coco.iou(detections, truths, crowd.astype(np.uint8)))


@both_forms
def test_mask_iou_is_that_of_rle_in_groups():
    random = np.random.default_rng(0)
    masks = rle.encode((random.random((7, 9, 8)) < 0.5).astype(np.uint8))
    ious = coco_eval.mask_iou(masks[:4], masks[4:], [0, 3, 4], [0, 1, 3], [0, 1, 0])
    expected = [rle.iou(masks[:3], masks[4:5]).ravel(), rle.iou(masks[3:4], masks[5:], [1, 0]).ravel()]
    np.testing.assert_array_equal(ious, np.concatenate(expected))


def matched(ious, crowd=None, truth_areas=None, detection_areas=None, ranges=ALL, thresholds=(0.5,)):
    ious = np.asarray(ious, np.float64)
    detections, truths = ious.shape
    return coco_eval.match(
        ious.ravel(),
        [0, detections],
        [0, truths],
        np.full(detections, 50.0) if detection_areas is None else detection_areas,
        np.full(truths, 50.0) if truth_areas is None else truth_areas,
        np.zeros(truths, bool) if crowd is None else crowd,
        ranges,
        thresholds,
    )


@both_forms
def test_each_ground_truth_is_given_once_in_order_of_score():
    matches, ignored = matched([[0.6, 0.9], [0.55, 0.8], [0.5, 0.7]])
    assert matches.tolist() == [[[1, 0, -1]]]
    assert matches.dtype == np.int32
    assert ignored.tolist() == [[[False] * 3]]


@both_forms
def test_of_equal_overlaps_the_last_is_taken():
    assert matched([[0.7, 0.7, 0.6]])[0].tolist() == [[[1]]]


@both_forms
def test_thresholds_are_met_by_equality_and_one_by_a_rounding_error():
    matches, _ = matched([[0.75]], thresholds=[0.5, 0.75, 0.76])
    assert matches[0, :, 0].tolist() == [0, 0, -1]
    assert matched([[1 - 1e-11]], thresholds=[1.0])[0].tolist() == [[[0]]]


@both_forms
def test_crowds_take_any_number_but_only_what_finds_nothing_else():
    matches, ignored = matched([[0.6, 0.9], [0.4, 0.9], [0.4, 0.8], [0.1, 0.1]], crowd=[False, True])
    assert matches.tolist() == [[[0, 1, 1, -1]]]
    assert ignored.tolist() == [[[False, True, True, False]]]


@both_forms
def test_areas_out_of_range_are_ignored():
    # In the first range all are; in the second the first detection and the second ground truth are not in it.
    matches, ignored = matched(
        [[0.1, 0.2], [0.1, 0.9], [0.6, 0.1]],
        truth_areas=[100.0, 99.9],
        detection_areas=[99.0, 5.0, 5.0],
        ranges=[[0, 1e10], [100, 200]],
    )
    assert matches.tolist() == [[[-1, 1, 0]], [[-1, 1, 0]]]
    assert ignored.tolist() == [[[False, False, False]], [[True, True, False]]]


@both_forms
def test_accumulate_worked_out_by_hand():
    # By score: hit, miss, ignored, hit; four objects. Precision 1 and 2/3 at recalls 1/4 and 1/2.
    scores = [0.9, 0.7, 0.8, 0.6]
    matches = np.array([[[0, -1, -1, 3]]], np.int32)
    ignored = np.array([[[False, True, False, False]]])
    precision, recall, at = coco_eval.accumulate(
        scores, [0, 1, 2, 3], [0, 4], matches, ignored, [[4]], [100], [0, 0.25, 0.3, 0.5, 0.6]
    )
    np.testing.assert_allclose(precision.ravel(), [1, 1, 2 / 3, 2 / 3, 0], rtol=1e-15)
    assert recall.ravel().tolist() == [0.5]
    assert at.ravel().tolist() == [0.9, 0.9, 0.6, 0.6, 0]


@both_forms
def test_accumulate_limits_and_absent_classes():
    matches = np.array([[[0, 1, -1]]], np.int32)
    ignored = np.zeros((1, 1, 3), bool)
    # The first class has detections of ranks 0 and 1, the second only a wrong one, the third nothing, the fourth ground
    # truth alone.
    precision, recall, _ = coco_eval.accumulate(
        [0.5, 0.5, 0.9], [0, 1, 0], [0, 2, 3, 3, 3], matches, ignored, [[2], [0], [0], [5]], [1, 2], [0, 1]
    )
    assert recall[0, :, 0].tolist() == [[0.5, 1], [-1, -1], [-1, -1], [0, 0]]
    # COCO adds an epsilon to the denominator, which is felt at the first hit.
    np.testing.assert_allclose(precision[0, :, 0, 0], [[1, 1], [0, 1]], rtol=1e-15)
    assert (precision[0, :, 1:3] == -1).all()
    assert (precision[0, :, 3] == 0).all()


@both_forms
def test_equal_scores_keep_their_order():
    count = 40  # more than a sort that is stable by chance would leave alone
    matches = np.where(np.arange(count) < 20, np.arange(count), -1).astype(np.int32)[None, None]
    precision, _, _ = coco_eval.accumulate(
        np.full(count, 0.5), np.zeros(count, int), [0, count], matches, np.zeros((1, 1, count), bool), [[20]], [1], [1]
    )
    assert precision.ravel().tolist() == [1]


@both_forms
def test_nothing_at_all():
    assert coco_eval.box_iou([], [], [0], [0]).shape == (0,)
    assert coco_eval.mask_iou([], [], [0, 0], [0, 0]).shape == (0,)
    matches, ignored = coco_eval.match([], [0], [0], [], [], [], ALL, [0.5])
    assert matches.shape == ignored.shape == (1, 1, 0)
    precision, recall, scores = coco_eval.accumulate([], [], [0], matches, ignored, np.zeros((0, 1), int), [1], [0.5])
    assert precision.shape == scores.shape == (1, 1, 0, 1, 1)
    assert recall.shape == (1, 0, 1, 1)


@pytest.mark.skipif(CORE is None, reason="the compiled library is off")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_native_equals_reference_to_the_bit(case):
    """On the fuzzer's draws; where one refuses, so does the other. What the public functions refuse is left out."""
    outcomes = []
    finite = ("detections", "truths")
    for index in range(300):
        arguments = case.draw(np.random.default_rng([3, index])).arrays
        if any(np.isnan(of).any() or (name in finite and np.isinf(of).any()) for name, of in arguments.items()):
            continue
        try:
            with np.errstate(all="ignore"):
                expected = getattr(reference, case.name)(**arguments)
        except ValueError as error:
            with pytest.raises(ValueError, match="must"):
                getattr(CORE, case.name)(**arguments)
            outcomes.append(str(error))
            continue
        ours = getattr(CORE, case.name)(**arguments)
        outcomes.append("")
        for one, other in zip(np.atleast_1d(ours) if isinstance(ours, np.ndarray) else ours, expected, strict=True):
            np.testing.assert_array_equal(one, other)
    assert outcomes.count("") > 200


@pytest.mark.skipif(CORE is None, reason="the compiled library is off")
def test_any_number_of_threads_gives_the_same():
    random = np.random.default_rng(1)
    splits = np.cumsum([0, *random.integers(0, 30, 300)])
    truth_splits = np.cumsum([0, *random.integers(0, 20, 300)])
    boxes = [random.uniform(0, 30, (of[-1], 4)) for of in (splits, truth_splits)]
    crowd = random.random(truth_splits[-1]) < 0.1
    results = []
    for threads in (1, 3):
        CORE.set_num_threads(threads)
        try:
            ious = coco_eval.box_iou(*boxes, splits, truth_splits, crowd)
            areas = [side[:, 2] * side[:, 3] for side in boxes]
            found = coco_eval.match(ious, splits, truth_splits, *areas, crowd, [[0, 1e10], [0, 99]], [0.3, 0.5])
            scores = np.round(random.random(splits[-1]), 1) if not results else results[0][-1]
            made = coco_eval.accumulate(
                scores, np.zeros(len(scores), int), splits[[0, 100, 300]], *found, [[50, 9]] * 2, [1], [0, 0.5, 1]
            )
        finally:
            CORE.set_num_threads(0)
        results.append([ious, *found, *made, scores])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


GOOD = {
    "ious": [0.5],
    "detection_splits": [0, 1],
    "truth_splits": [0, 1],
    "detection_areas": [1.0],
    "truth_areas": [1.0],
    "is_crowd": [False],
    "area_ranges": ALL,
    "thresholds": [0.5],
}


@both_forms
@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"ious": [0.5, 0.5]}, ValueError, "ious must have one entry per pair, 1, got 2"),
        ({"ious": [[0.5]]}, ValueError, r"ious must have 1 axes, got shape \[1, 1\]"),
        ({"ious": ["a"]}, TypeError, "ious must hold numbers, got <U1"),
        ({"detection_splits": [0, 2]}, ValueError, "detection_splits must rise from 0 to the number of entries, 1"),
        ({"truth_splits": []}, ValueError, "truth_splits must have at least one entry"),
        ({"truth_splits": [0, 0, 1]}, ValueError, "must have equally many entries, got 2 and 3"),
        ({"truth_splits": [0.0, 1.0]}, TypeError, "truth_splits must hold integers, got float64"),
        ({"thresholds": [0.5, np.nan]}, ValueError, "thresholds must not hold NaN, got it at position 1"),
        ({"is_crowd": [0, 1]}, ValueError, "is_crowd must have one entry per ground truth, 1, got 2"),
        ({"area_ranges": [[1, 2, 3]]}, ValueError, r"area_ranges must have shape \[A, 2\], got \[1, 3\]"),
    ],
)
def test_bad_arguments_of_match(change, error, text):
    with pytest.raises(error, match=text):
        coco_eval.match(**{**GOOD, **change})


@both_forms
def test_bad_boxes():
    with pytest.raises(ValueError, match=r"truths must be finite, got \[0.0, 0.0, inf, 1.0\] at position 1"):
        coco_eval.box_iou([[0, 0, 1, 1]], [[0, 0, 1, 1], [0, 0, np.inf, 1]], [0, 1], [0, 2])
    with pytest.raises(ValueError, match=r"detections must have shape \[N, 4\], got \[1, 3\]"):
        coco_eval.box_iou([[0, 0, 1]], [], [0, 1], [0, 0])


@both_forms
@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"scores": [np.nan]}, ValueError, "scores must not hold NaN, got it at position 0"),
        ({"ranks": [0, 1]}, ValueError, "ranks must have one entry per detection, 1, got 2"),
        ({"matches": np.zeros((1, 1, 1))}, TypeError, r"matches must be int32 \[A, T, D\], got float64"),
        ({"ignored": np.zeros((1, 1, 2), bool)}, ValueError, r"matches and ignored must have shape \[A, T, 1\]"),
        ({"positives": [[1, 1]]}, ValueError, r"positives must have shape \[K, A\] = \[1, 1\], got \[1, 2\]"),
        ({"recalls": [0.5, 0.2]}, ValueError, "recalls must rise, got 0.2 at position 1"),
    ],
)
def test_bad_arguments_of_accumulate(change, error, text):
    good = {
        "scores": [0.5],
        "ranks": [0],
        "class_splits": [0, 1],
        "matches": np.zeros((1, 1, 1), np.int32),
        "ignored": np.zeros((1, 1, 1), bool),
        "positives": [[1]],
        "most_detections": [1],
        "recalls": [0, 1],
    }
    with pytest.raises(error, match=text):
        coco_eval.accumulate(**{**good, **change})


@both_forms
@pytest.mark.parametrize("name", coco_eval.__all__)
def test_example(name):
    function = getattr(coco_eval, name)
    examples = doctest.DocTestParser().get_doctest(function.__doc__, {"np": np, **vars(coco_eval)}, name, None, None)
    report: list[str] = []
    assert examples.examples
    assert doctest.DocTestRunner().run(examples, out=report.append).failed == 0, "".join(report)


def test_public_names():
    assert kseg_ops.coco_eval is kseg_ops.numpy.coco_eval is coco_eval
