"""nms by hand, against torchvision's recorded answers and against the rule written out, in both forms."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from tests.helpers.nms_cases import hostile_boxes, random_boxes, scalar_nms, with_native, with_reference
from tests.ops import make_nms_golden as golden


@pytest.fixture(params=[with_native, with_reference], ids=["native", "reference"])
def nms(request):
    """`kseg_ops.nms` in either form, answering with a list; in a graph the reference is faster."""
    form = request.param(kseg_ops.nms)

    def call(*args, in_graph=False, **kwargs):
        kept = tf.function(lambda: form(*args, **kwargs))() if in_graph else form(*args, **kwargs)
        assert kept.dtype == tf.int32
        return kept.numpy().tolist()

    return call


# Three in a row, each over half of the next: IoU 1/3 between neighbours (50 of 150), 0 between the outer ones.
ROW = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10]], np.float32)


# -- by hand -----------------------------------------------------------------------------------------------------------


def test_the_middle_one_wins_or_loses(nms):
    assert nms(ROW, [0.5, 0.9, 0.6], 0.3) == [1]
    # A box that is dropped drops none itself.
    assert nms(ROW, [0.9, 0.8, 0.7], 0.3) == [0, 2]
    assert nms(ROW, [0.9, 0.8, 0.7], 0.4) == [0, 1, 2]


def test_an_iou_of_just_the_threshold_is_kept(nms):
    # 50 / 100: exact in float32.
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5]], np.float32)
    assert nms(boxes, [0.9, 0.8], 0.5) == [0, 1]
    assert nms(boxes, [0.9, 0.8], np.nextafter(np.float32(0.5), np.float32(0))) == [0]
    # 30 / 100 rounds to the float32 that 0.3 rounds to.
    boxes[1] = [0, 0, 10, 3]
    assert nms(boxes, [0.9, 0.8], 0.3) == [0, 1]
    assert nms(boxes, [0.9, 0.8], np.nextafter(np.float32(0.3), np.float32(0))) == [0]


def test_the_quotient_is_rounded_before_it_is_compared(nms):
    # 1/3 in float32 is above 1/3: a threshold of just that float keeps both, the one before drops one.
    third = np.float32(1) / np.float32(3)
    assert nms(ROW[:2], [0.9, 0.8], third) == [0, 1]
    assert nms(ROW[:2], [0.9, 0.8], np.nextafter(third, np.float32(0))) == [0]


def test_thresholds_of_0_and_1(nms):
    boxes = np.concatenate([ROW, ROW[:1], [[20, 10, 30, 20]]]).astype(np.float32)  # the last one touches a corner
    scores = [0.9, 0.8, 0.7, 0.6, 0.5]
    assert nms(boxes, scores, 0) == [0, 2, 4]
    assert nms(boxes, scores, 1) == [0, 1, 2, 3, 4]


def test_equal_scores_go_by_index(nms):
    assert nms(ROW, [0.5, 0.5, 0.5], 0.3) == [0, 2]
    assert nms(ROW, [0.0, -0.0, 0.0], 0.9) == [0, 1, 2]
    assert nms(np.tile(ROW[:1], (300, 1)), np.full(300, 0.25), 0.5) == [0]


def test_nan_and_minus_infinity_are_never_kept(nms):
    scores = [np.nan, 0.1, np.inf, -np.inf, -np.nan]
    boxes = np.arange(5)[:, None] * 20 + np.array([[0, 0, 10, 10]])
    assert nms(boxes, scores, 0.5) == [2, 1]
    # Nor do they drop anything.
    assert nms(np.tile(ROW[:1], (3, 1)), [np.nan, 0.5, -np.inf], 0.5) == [1]


def test_score_threshold_is_strict(nms):
    far = np.arange(3)[:, None] * 20 + np.array([[0, 0, 10, 10]])
    assert nms(far, [0.5, 0.25, 0.75], 0.5, score_threshold=0.5) == [2]
    assert nms(far, [0.5, 0.25, 0.75], 0.5, score_threshold=-1) == [2, 0, 1]
    assert nms(far, [0.5, np.inf, 0.75], 0.5, score_threshold=np.inf) == []


def test_max_output_size(nms):
    far = np.arange(5)[:, None] * 20 + np.array([[0, 0, 10, 10]])
    scores = [0.1, 0.5, 0.4, 0.2, 0.3]
    for size in range(7):
        assert nms(far, scores, 0.5, max_output_size=size) == [1, 2, 4, 3, 0][:size]
    assert nms(far, scores, 0.5, max_output_size=2**62) == [1, 2, 4, 3, 0]


def test_classes_do_not_meet(nms):
    boxes = np.tile(ROW[:1], (6, 1))
    scores = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert nms(boxes, scores, 0.5, class_ids=[7, 7, 0, 0, 2**31 - 1, 7]) == [5, 4, 3]
    # Negative ids mark padding.
    assert nms(boxes, scores, 0.5, class_ids=[7, 7, 0, -1, -1, -2]) == [2, 1]
    assert nms(boxes, scores, 0.5, class_ids=[-1] * 6) == []
    assert nms(boxes, scores, 0.5, max_output_size=2, class_ids=[0, 1, 2, 3, 4, 5]) == [5, 4]


def test_boxes_that_are_no_boxes_neither_drop_nor_are_dropped(nms):
    real = [[0, 0, 10, 10], [1, 0, 11, 10]]
    degenerate = hostile_boxes()[2:13].tolist()
    rows = np.array(degenerate + real + degenerate, np.float32)
    kept = nms(rows, np.linspace(1, 0.5, len(rows)), 0.5)
    assert kept == [i for i in range(len(rows)) if i != len(degenerate) + 1]


def test_areas_that_overflow_count_as_degenerate(nms):
    huge = np.array([[0, 0, 1e19, 1e19], [0, 0, 1e19, 1e19], [-3e38, 0, 3e38, 1], [-3e38, 0, 3e38, 1]], np.float32)
    assert nms(huge, [4, 3, 2, 1], 0.5) == [0, 1, 2, 3]
    large = np.array([[0, 0, 9e18, 9e18], [0, 0, 9e18, 9e18]], np.float32)
    assert nms(large, [4, 3], 0.5) == [0]


def test_empty_inputs(nms):
    assert nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.5) == []
    assert nms(np.zeros((0, 4), np.float32), [], 0.5, class_ids=[]) == []
    assert nms(ROW, [np.nan] * 3, 0.5) == []


# -- against torchvision and the rule ----------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", golden.THRESHOLDS)
def test_equals_torchvision(nms, threshold):
    with np.load(golden.FILE) as recorded:
        for key, value in golden.inputs().items():
            np.testing.assert_array_equal(recorded[key], value)
        _check_torchvision(nms, threshold, recorded)


def _check_torchvision(nms, threshold, recorded):
    boxes, scores, class_ids = (recorded[key] for key in ("boxes", "scores", "class_ids"))
    assert nms(boxes, scores, threshold, in_graph=True) == recorded[f"all_{threshold}"].tolist()
    expected = recorded[f"classes_{threshold}"].tolist()
    assert nms(boxes, scores, threshold, class_ids=class_ids, in_graph=True) == expected


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed")
def test_equals_the_torchvision_that_is_installed(nms, tmp_path):
    # In a process of its own: torch and TensorFlow do not always load into one.
    file = tmp_path / "answers.npz"
    subprocess.run([sys.executable, golden.__file__, str(file)], check=True, timeout=300)
    with np.load(file) as made:
        for threshold in golden.THRESHOLDS:
            _check_torchvision(nms, threshold, made)


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.3, 0.5, 0.75])
@pytest.mark.parametrize("grid", [0, 5])
def test_equals_the_rule(nms, threshold, grid):
    generator = np.random.default_rng(3)
    boxes = random_boxes(generator, 90, grid=grid)
    scores = np.round(generator.normal(size=90), 1).astype(np.float32)
    class_ids = generator.integers(0, 3, 90)
    assert nms(boxes, scores, threshold) == scalar_nms(boxes, scores, threshold)
    expected = scalar_nms(boxes, scores, threshold, class_ids)
    assert nms(boxes, scores, threshold, class_ids=class_ids) == expected
    assert nms(boxes, scores, threshold, 7, class_ids=class_ids) == expected[:7]


# -- types and refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float64])
def test_scores_of_other_types(nms, dtype):
    scores = tf.constant([0.5, 0.75, 0.625], dtype)
    assert nms(ROW, scores, 0.3) == [1]
    assert nms(tf.constant(ROW, tf.float64), scores, 0.4) == [1, 2, 0]


@pytest.mark.parametrize("dtype", [tf.uint8, tf.int16, tf.uint16, tf.uint32, tf.int64, tf.uint64])
def test_class_ids_of_other_types(nms, dtype):
    assert nms(ROW, [0.9, 0.8, 0.7], 0.3, class_ids=tf.constant([0, 1, 0], dtype)) == [0, 1, 2]
    assert nms(ROW, [0.9, 0.8, 0.7], 0.3, class_ids=np.array([0, 0, 1], dtype.as_numpy_dtype)) == [0, 2]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"boxes": ROW[0]}, ValueError, r"boxes must have shape \[N, 4\], got \(4,\)"),
        ({"boxes": ROW[:, :3]}, ValueError, r"boxes must have shape \[N, 4\], got \(3, 3\)"),
        ({"boxes": ROW.astype(np.float16)}, TypeError, "boxes must be float32, got float16.*autocast=False"),
        ({"scores": [[0.1, 0.2, 0.3]]}, ValueError, r"scores must have shape \[N\], got \(1, 3\)"),
        ({"scores": [0.1, 0.2]}, ValueError, r"scores must have one entry per box, got shape \(2,\) for boxes"),
        ({"scores": np.zeros(3, np.int32)}, TypeError, "scores must be floating, got int32"),
        ({"class_ids": [0, 1]}, ValueError, r"class_ids must have one entry per box, got shape \(2,\)"),
        ({"class_ids": [0.0, 1.0, 2.0]}, TypeError, "class_ids must be integers, got float64"),
        ({"class_ids": np.array([0, 1, 2**31])}, ValueError, "class_ids must be in .*, got 2147483648"),
        ({"class_ids": tf.zeros(3)}, TypeError, "class_ids must be integers, got float32"),
        ({"iou_threshold": 1.5}, ValueError, "iou_threshold must be in 0..1, got 1.5"),
        ({"iou_threshold": -0.1}, ValueError, "iou_threshold must be in 0..1, got -0.1"),
        ({"iou_threshold": float("nan")}, ValueError, "iou_threshold must be a number, got NaN"),
        ({"iou_threshold": "0.5"}, TypeError, "iou_threshold must be a Python number, got '0.5'"),
        ({"iou_threshold": 10**400}, ValueError, "iou_threshold must be in 0..1"),
        ({"score_threshold": float("nan")}, ValueError, "score_threshold must be a number, got NaN"),
        ({"max_output_size": -1}, ValueError, "max_output_size must be in 0.*, got -1"),
        ({"max_output_size": 2.5}, TypeError, "max_output_size must be an integer, got 2.5"),
    ],
)
def test_invalid_arguments(nms, change, error, message):
    given = {"boxes": ROW, "scores": [0.9, 0.8, 0.7], "iou_threshold": 0.5}
    with pytest.raises(error, match=message):
        nms(**{**given, **change})


def test_keras_tensors_are_refused():
    keras = pytest.importorskip("keras")
    with pytest.raises(TypeError, match=r"boxes is a KerasTensor.*kseg\.layers\.NonMaxSuppression"):
        kseg_ops.nms(keras.Input((4,)), [0.5], 0.5)


def test_there_is_no_gradient(nms):
    boxes, scores = tf.constant(ROW), tf.constant([0.9, 0.8, 0.7])
    with tf.GradientTape() as tape:
        tape.watch([boxes, scores])
        kept = tf.gather(scores, nms(boxes, scores, 0.3))
    gradients = tape.gradient(kept, [boxes, scores])
    assert gradients[0] is None
    # What is gathered by the indices has its own.
    np.testing.assert_array_equal(tf.convert_to_tensor(gradients[1]), [1, 0, 1])


@pytest.mark.parametrize("form", [with_native, with_reference])
def test_shapes_known_only_at_run_time(form):
    nms = form(kseg_ops.nms)

    @tf.function(
        input_signature=[tf.TensorSpec(None), tf.TensorSpec(None), tf.TensorSpec(None, tf.int32)], autograph=False
    )
    def unknown(boxes, scores, class_ids):
        kept = nms(boxes, scores, 0.3, class_ids=class_ids)
        assert kept.shape.as_list() == [None]
        return kept

    zeros = np.zeros(3, np.int32)
    np.testing.assert_array_equal(unknown(ROW, np.float32([0.9, 0.8, 0.7]), zeros), [0, 2])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?s)scores must have one entry per box"):
        unknown(ROW, np.zeros(2, np.float32), zeros)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?s)class_ids must have one entry per box"):
        unknown(ROW, np.zeros(3, np.float32), zeros[:2])


@pytest.mark.parametrize("form", [with_native, with_reference])
@pytest.mark.parametrize("boxes", [[None, 4], [3, 4]])
@pytest.mark.parametrize("shape", [None, [None]])
def test_class_ids_known_only_at_run_time(form, boxes, shape):
    nms = form(kseg_ops.nms)

    @tf.function(input_signature=[tf.TensorSpec(boxes), tf.TensorSpec([None]), tf.TensorSpec(shape, tf.int64)])
    def unknown(boxes, scores, class_ids):
        return nms(boxes, scores, 0.3, class_ids=class_ids)

    scores, ids = np.float32([0.9, 0.8, 0.7]), np.int64([0, 7, 0])
    np.testing.assert_array_equal(unknown(ROW, scores, ids), nms(ROW, scores, 0.3, class_ids=ids))
    for count in (0, 1, 2):
        with pytest.raises(tf.errors.InvalidArgumentError, match="class_ids must have one entry per box"):
            unknown(ROW, scores, ids[:count])
    for wrong in (2**31, 2**40, -(2**31) - 1):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"class_ids must be in -2147483648\.\.2147483647"):
            unknown(ROW, scores, np.int64([0, wrong, 0]))


@pytest.mark.parametrize("form", [with_native, with_reference])
@pytest.mark.parametrize("wrong", [np.uint32(2**31), np.int64(2**40), np.int64(-(2**63)), np.uint64(2**63)])
def test_class_ids_beyond_int32_are_refused(form, wrong):
    nms, ids = form(kseg_ops.nms), np.array([0, wrong, 0], wrong.dtype)
    for given in (ids, tf.constant(ids)):
        with pytest.raises(ValueError, match=rf"class_ids must be in -2147483648\.\.2147483647, got {wrong}"):
            nms(ROW, np.float32([0.9, 0.8, 0.7]), 0.3, class_ids=given)


@pytest.mark.parametrize("form", [with_native, with_reference])
def test_in_a_data_pipeline(form):
    nms = form(kseg_ops.nms)
    data = tf.data.Dataset.from_tensors((ROW, np.float32([0.9, 0.8, 0.7])))
    data = data.map(lambda boxes, scores: nms(boxes, scores, 0.3))
    assert [kept.numpy().tolist() for kept in data] == [[0, 2]]
