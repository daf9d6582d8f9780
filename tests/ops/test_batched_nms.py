"""batched_nms by hand, against torchvision's recorded answers and against its rules written out, in both forms."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from tests.helpers.nms_cases import (
    KINDS,
    gaussian,
    limited,
    linear_above,
    random_boxes,
    scalar_iou,
    scalar_matrix,
    scalar_nms,
    scalar_soft,
    with_native,
    with_reference,
)
from tests.ops import make_nms_golden as golden

EPS = np.finfo(np.float32).eps


@pytest.fixture(params=[with_native, with_reference], ids=["native", "reference"])
def nms(request):
    """`kseg_ops.batched_nms` in either form."""
    return request.param(kseg_ops.batched_nms)


# IoU 1/3 between neighbours, 0 between the outer ones.
ROW = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10]], np.float32)
# IoU 0.5 and 0.25 with the first, 0.5 between the second and third: exact in float32.
HALVES = np.array([[0, 0, 8, 8], [0, 0, 8, 4], [0, 0, 8, 2]], np.float32)


# -- by hand -----------------------------------------------------------------------------------------------------------


def test_hard(nms):
    found = nms(np.stack([ROW, ROW[::-1]]), [[0.5, 0.75, 0.25], [0.75, 0.5, 0.25]], 0.25, max_output_size=4)
    np.testing.assert_array_equal(found.indices, [[1, -1, -1, -1], [0, 2, -1, -1]])
    np.testing.assert_array_equal(found.classes, [[0, -1, -1, -1], [0, 0, -1, -1]])
    np.testing.assert_array_equal(found.scores, [[0.75, 0, 0, 0], [0.75, 0.25, 0, 0]])
    np.testing.assert_array_equal(found.num_valid, [1, 2])
    zero = [0, 0, 0, 0]
    np.testing.assert_array_equal(found.boxes, [[ROW[1], zero, zero, zero], [ROW[2], ROW[0], zero, zero]])


def test_every_pair_of_row_and_class_is_a_candidate(nms):
    scores = np.array([[[0.5, 0.125], [0.75, 0.25], [0.25, 0.5]]])
    found = nms(ROW[None], scores, 0.25, max_output_size=5)
    np.testing.assert_array_equal(found.indices, [[1, 2, 0, -1, -1]])
    np.testing.assert_array_equal(found.classes, [[0, 1, 1, -1, -1]])
    np.testing.assert_array_equal(found.scores, [[0.75, 0.5, 0.125, 0, 0]])
    found = nms(ROW[None], scores, 0.25, max_output_size=5, class_agnostic=True)
    np.testing.assert_array_equal(found.indices, [[1, -1, -1, -1, -1]])
    found = nms(ROW[None], scores, 0.25, max_output_size=5, class_agnostic=True, score_threshold=0.6)
    np.testing.assert_array_equal(found.classes, [[0, -1, -1, -1, -1]])


def test_a_box_for_each_class(nms):
    boxes = np.stack([HALVES, ROW], 1)[None]  # [1, 3, 2, 4]
    scores = np.array([[[0.5, 0.5], [0.25, 0.25], [0.75, 0.75]]])
    found = nms(boxes, scores, 0.4, max_output_size=6)
    np.testing.assert_array_equal(found.indices, [[2, 2, 0, 0, 1, -1]])
    np.testing.assert_array_equal(found.classes, [[0, 1, 0, 1, 1, -1]])
    np.testing.assert_array_equal(found.boxes[0, :2], [HALVES[2], ROW[2]])
    # One set of boxes in an axis of its own serves all classes.
    one = nms(ROW[None, :, None], scores, 0.4, max_output_size=6)
    np.testing.assert_array_equal(one.indices, nms(ROW[None], scores, 0.4, max_output_size=6).indices)


def test_class_ids_and_padding_rows(nms):
    boxes = np.tile(ROW[:1], (6, 1))[None]
    scores = [[0.5, 0.75, 0.25, 1.0, 0.125, 0.875]]
    found = nms(boxes, scores, class_ids=[[3, 3, 9, -1, 9, -7]], max_output_size=4)
    np.testing.assert_array_equal(found.indices, [[1, 2, -1, -1]])
    np.testing.assert_array_equal(found.classes, [[3, 9, -1, -1]])
    found = nms(boxes, scores, class_ids=[[3, 3, 9, -1, 9, -7]], max_output_size=4, class_agnostic=True)
    np.testing.assert_array_equal(found.classes, [[3, -1, -1, -1]])


def test_equal_scores_go_by_row_then_class(nms):
    far = (np.arange(3)[:, None] * 20 + np.array([[0, 0, 10, 10]]))[None]
    found = nms(far, np.full((1, 3, 2), 0.5), max_output_size=4)
    np.testing.assert_array_equal(found.indices, [[0, 0, 1, 1]])
    np.testing.assert_array_equal(found.classes, [[0, 1, 0, 1]])


def test_max_per_class(nms):
    far = (np.arange(4)[:, None] * 20 + np.array([[0, 0, 10, 10]]))[None]
    scores = [[[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]]]
    for kind in ("hard", "linear", "gaussian", "matrix"):
        found = nms(far, scores, max_output_size=6, max_per_class=2, kind=kind)
        np.testing.assert_array_equal(found.indices, [[0, 1, 3, 2, -1, -1]])
        np.testing.assert_array_equal(found.classes, [[0, 0, 1, 1, -1, -1]])
        found = nms(far, scores, max_output_size=6, max_per_class=2, kind=kind, class_agnostic=True)
        np.testing.assert_array_equal(found.indices, [[0, 1, -1, -1, -1, -1]])


def test_linear_soft_nms(nms):
    found = nms(HALVES[None], [[1.0, 0.75, 0.5]], 0.25, kind="linear", max_output_size=3)
    # The first halves the second, whose IoU is above the threshold, and spares the third, whose IoU equals it. The
    # third comes next and halves the second again.
    np.testing.assert_array_equal(found.indices, [[0, 2, 1]])
    np.testing.assert_array_equal(found.scores, [[1.0, 0.5, 0.75 * 0.5 * 0.5]])
    # What falls to the threshold goes.
    found = nms(HALVES[None], [[1.0, 0.75, 0.5]], 0.25, 0.1875, kind="linear", max_output_size=3)
    np.testing.assert_array_equal(found.indices, [[0, 2, -1]])


def test_gaussian_soft_nms(nms):
    found = nms(HALVES[None], [[1.0, 0.75, 0.5]], kind="gaussian", sigma=0.5, max_output_size=3)
    # The IoUs of 0.5 and 0.25 with the first leave 0.455 and 0.441, and the second lowers the third once more.
    np.testing.assert_array_equal(found.indices, [[0, 1, 2]])
    by_half, by_quarter = np.exp(-0.5), np.exp(-0.125)
    expected = [[1.0, 0.75 * by_half, 0.5 * by_quarter * by_half]]
    # Two exponentials of a few units in the last place each, and two products.
    np.testing.assert_allclose(found.scores, expected, rtol=10 * EPS)


def test_matrix_nms(nms):
    found = nms(HALVES[None], [[1.0, 0.75, 0.5]], kind="matrix", matrix_kernel="linear", max_output_size=3)
    # Second: 1 - 0.5. Third: from the first 1 - 0.25, from the second (1 - 0.5) / (1 - 0.5), as that is itself covered
    # by half.
    np.testing.assert_array_equal(found.indices, [[0, 1, 2]])
    np.testing.assert_array_equal(found.scores, [[1.0, 0.375, 0.375]])
    found = nms(HALVES[None], [[1.0, 0.75, 0.5]], kind="matrix", sigma=0.5, max_output_size=3)
    np.testing.assert_allclose(found.scores, [[1.0, 0.75 * np.exp(-0.5), 0.5 * np.exp(-0.125)]], rtol=6 * EPS)


def test_matrix_nms_of_equal_boxes(nms):
    boxes = np.tile(ROW[:1], (3, 1))[None]
    found = nms(boxes, [[0.5, 1.0, 0.75]], kind="matrix", matrix_kernel="linear", max_output_size=3)
    np.testing.assert_array_equal(found.indices, [[1, -1, -1]])
    found = nms(boxes, [[0.5, 1.0, 0.75]], kind="matrix", sigma=0.5, max_output_size=3)
    # Both are covered wholly by the first; among each other, being covered already, they count for nothing.
    np.testing.assert_array_equal(found.indices, [[1, 2, 0]])
    np.testing.assert_allclose(found.scores, [[1.0, 0.75 * np.exp(-2), 0.5 * np.exp(-2)]], rtol=6 * EPS)


def test_methods_that_lower_scores_need_positive_ones(nms):
    far = (np.arange(4)[:, None] * 20 + np.array([[0, 0, 10, 10]]))[None]
    scores = [[-0.5, 0.0, np.inf, 0.25]]
    for kind in ("linear", "gaussian", "matrix"):
        found = nms(far, scores, kind=kind, max_output_size=4)
        np.testing.assert_array_equal(found.indices, [[2, 3, -1, -1]])
        np.testing.assert_array_equal(found.scores, [[np.finfo(np.float32).max, 0.25, 0, 0]])
    found = nms(far, scores, max_output_size=4)
    np.testing.assert_array_equal(found.indices, [[2, 3, 1, 0]])
    np.testing.assert_array_equal(found.scores, [[np.inf, 0.25, 0, -0.5]])


# -- against torchvision and the rules ---------------------------------------------------------------------------------


def test_equals_torchvision(nms):
    with np.load(golden.FILE) as recorded:
        boxes, scores, class_ids = (recorded[key] for key in ("boxes", "scores", "class_ids"))
        for threshold in (0.25, 0.5):
            expected = recorded[f"classes_{threshold}"][:60]
            found = nms(boxes[None], scores[None], threshold, max_output_size=60, class_ids=class_ids[None])
            np.testing.assert_array_equal(found.indices[0], expected)
            np.testing.assert_array_equal(found.scores[0], scores[expected])
            np.testing.assert_array_equal(found.boxes[0], boxes[expected])
            np.testing.assert_array_equal(found.classes[0], class_ids[expected])


@pytest.mark.parametrize("cap", [None, 4])
@pytest.mark.parametrize(("kind", "kernel"), KINDS)
def test_equals_the_rule(nms, kind, kernel, cap):
    generator = np.random.default_rng(5)
    boxes = random_boxes(generator, 2, 40)
    scores = generator.uniform(0, 1, (2, 40, 2)).astype(np.float32)
    found = nms(boxes, scores, 0.3, 0.02, 70, cap, kind=kind, matrix_kernel=kernel, sigma=0.4)
    for image in range(2):
        rows, classes = np.divmod(np.arange(80), 2)
        flat, corners = scores[image].ravel(), boxes[image][rows]
        if kind == "hard":
            kept = [i for i in scalar_nms(corners, flat, 0.3, classes) if flat[i] > np.float32(0.02)]
            expected = [(i, flat[i]) for i in kept]
        elif kind == "matrix":
            f = gaussian(0.4) if kernel == "gaussian" else lambda overlap: 1 - overlap
            expected = scalar_matrix(corners, flat, classes, 80, f, 0.02)
        else:
            decay = gaussian(0.4) if kind == "gaussian" else linear_above(np.float32(0.3))
            expected = scalar_soft(corners, flat, classes, 80, decay, 0.02)
        kept = limited([i for i, _ in expected], classes, cap or 80, 70)
        assert len(kept) > 5
        assert found.num_valid[image] == len(kept)
        np.testing.assert_array_equal(found.indices[image, : len(kept)], rows[kept])
        np.testing.assert_array_equal(found.classes[image, : len(kept)], classes[kept])
        finals = dict(expected)
        # The oracle rounds only the IoU, at most 3 times EPS / 2 of at most 1. Each of at most 40 decays adds its own
        # errors: of 1 - iou, relative to what may be as little as 0.02 of the score; or of an exponential, a few EPS.
        np.testing.assert_allclose(
            found.scores[image, : len(kept)], [finals[i] for i in kept], rtol=40 * 6 * EPS / 0.02
        )


def test_one_class_of_nms_and_batched_nms_agree(nms):
    generator = np.random.default_rng(6)
    boxes = random_boxes(generator, 60, grid=5)
    scores = np.round(generator.uniform(0, 1, 60), 1)
    kept = kseg_ops.nms(boxes, scores, 0.4).numpy()
    found = nms(boxes[None], scores[None], 0.4, max_output_size=60)
    np.testing.assert_array_equal(found.indices[0, : len(kept)], kept)
    assert found.num_valid[0] == len(kept)


def test_the_exponential_is_exact_to_a_few_units():
    from kseg_ops.reference.suppression import exp_minus

    x = np.concatenate([np.linspace(0, 86.99, 20001), np.geomspace(1e-30, 1, 2001), [87.1, 1e30]]).astype(np.float32)
    ours = exp_minus(tf.constant(x)).numpy()
    exact = np.exp(-x.astype(np.float64))
    assert ours.max() == 1
    assert ours[0] == 1
    np.testing.assert_array_equal(ours[-2:], [0, 0])
    # A rest of up to ln 2 rounded 3 times (the error of ln 2 in two parts is below that), 9 products and sums of which
    # only the last two are of full size, and the series cut where its terms are below EPS / 16.
    np.testing.assert_allclose(ours[:-2], exact[:-2], rtol=4 * EPS)


def test_iou_of_the_helper_is_the_op_s(nms):
    # 50 / 150 against a threshold just below and at it.
    third = scalar_iou(ROW[0], ROW[1])
    assert nms(ROW[None, :2], [[0.9, 0.8]], third, max_output_size=2).num_valid[0] == 2
    assert nms(ROW[None, :2], [[0.9, 0.8]], np.nextafter(third, np.float32(0)), max_output_size=2).num_valid[0] == 1
