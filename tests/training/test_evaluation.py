from __future__ import annotations

import json
import math

import numpy as np
import pytest

from kseg.training.evaluation import Evaluation, default_class_names, evaluate, write_metrics
from kseg.training.extra_metrics import extra_metrics

TRUTH = np.array([[0, 0, 1], [1, 1, 255]], np.uint8)
PREDICTION = np.array([[0, 1, 1], [1, 0, 2]], np.uint8)


def test_figures_of_a_case_worked_out_by_hand():
    result = evaluate(lambda image: PREDICTION, [(None, TRUTH)], 3, names=["a"])
    # Counted: 5 pixels. Class 0: 1 hit of 2 true, 2 predicted. Class 1: 2 hits of 3 true, 3 predicted. Class 2: absent,
    # for the pixel that was predicted as 2 is void.
    np.testing.assert_array_equal(result.confusion, [[1, 1, 0], [1, 2, 0], [0, 0, 0]])
    np.testing.assert_allclose(result.iou, [1 / 3, 2 / 4, np.nan])
    np.testing.assert_allclose(result.dice, [2 / 4, 4 / 6, np.nan])
    assert result.mean_iou == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert result.mean_dice == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert result.pixel_accuracy == pytest.approx(3 / 5)
    assert result.images == [("a", pytest.approx(5 / 12))]
    np.testing.assert_allclose(result.precision, [1 / 2, 2 / 3, np.nan])
    np.testing.assert_allclose(result.recall, [1 / 2, 2 / 3, np.nan])
    assert result.mean_precision == result.mean_recall == pytest.approx(7 / 12)
    assert result.frequency_weighted_iou == pytest.approx((2 * 1 / 3 + 3 * 1 / 2) / 5)


def test_the_sigmoid_case_counts_two_classes():
    result = evaluate(lambda image: np.array([[1, 0]]), [(None, np.array([[1, 1]]))], 1)
    np.testing.assert_array_equal(result.confusion, [[0, 0], [1, 1]])
    assert result.class_names == ["background", "foreground"]


def test_images_are_summed_not_averaged():
    masks = [np.zeros((1, 1), np.int32), np.ones((1, 9), np.int32)]
    predictions = iter([np.ones((1, 1), np.int32), np.ones((1, 9), np.int32)])
    result = evaluate(lambda image: next(predictions), [(None, mask) for mask in masks], 2)
    np.testing.assert_allclose(result.iou, [0, 9 / 10])


def test_a_label_that_is_no_class_is_named():
    with pytest.raises(ValueError, match=r"im7: the mask holds the value 9; expected 0 to 1 or 255 \(void\)"):
        evaluate(lambda image: np.zeros((1, 1)), [(None, np.array([[9]]))], 2, names=["im7"])


def test_sizes_that_differ_are_named():
    with pytest.raises(ValueError, match=r"0000: the mask has size \(2, 3\) and the prediction \(1, 1\)"):
        evaluate(lambda image: np.zeros((1, 1)), [(None, TRUTH)], 2)


def test_nothing_counted_is_no_number_and_json_has_null(tmp_path):
    result = Evaluation(np.zeros((2, 2), np.int64), ["a", "b"], [("x", math.nan)])
    assert math.isnan(result.mean_iou)
    assert math.isnan(result.pixel_accuracy)
    write_metrics(tmp_path / "metrics.json", result.to_dict())
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert content["mean_iou"] is None
    nothing = dict.fromkeys(("iou", "dice", "precision", "recall", "accuracy"))
    assert content["classes"][0] == {"name": "a", "pixels": 0} | nothing
    assert content["frequency_weighted_iou"] is None


def test_default_class_names():
    assert default_class_names(3) == ["class 0", "class 1", "class 2"]
    assert default_class_names(2, ["sky", "road"]) == ["sky", "road"]
    assert default_class_names(1, ["cell"]) == ["background", "cell"]


def test_further_figures(tmp_path):
    """Two pixels side by side, one predicted a column off; of a class that is nowhere there is no figure."""
    mask = np.zeros((8, 9), np.uint8)
    mask[3, 3:5] = 1
    logits = np.where(np.roll(mask, 1, axis=1)[..., None] == np.arange(3), 50.0, 0.0).astype("float32")
    extras = extra_metrics(3, 255, boundary=True, surface=True, spacing=(1, 0.5), calibration=True)
    result = evaluate(lambda image: logits, [(None, mask)], 3, extras=extras)
    np.testing.assert_array_equal(result.confusion[1], [1, 1, 0])
    write_metrics(tmp_path / "metrics.json", result.to_dict())
    content = json.loads((tmp_path / "metrics.json").read_text())
    ground, object_, nowhere = content["classes"]
    assert object_["boundary_iou"] == pytest.approx(1 / 3)
    # The object's contour is 1 + sqrt(5) long, sqrt(5) / 2 of it half a unit away; that is less than 5 percent of the
    # contour of the ground, with the border of the image.
    assert (object_["hd95"], ground["hd95"]) == (0.5, 0)
    assert nowhere["boundary_iou"] is nowhere["hd95"] is nowhere["average_surface_distance"] is None
    assert content["hd95"] == 0.25
    assert 0 < content["average_surface_distance"] < 0.5
    assert content["calibration_error"] == pytest.approx(2 / 72)
    assert "calibration_error" not in object_


def test_logits_are_asked_for_where_they_are_missing():
    extras = extra_metrics(3, 255, calibration=True)
    with pytest.raises(ValueError, match="calibration_error needs logits"):
        evaluate(lambda image: PREDICTION, [(None, TRUTH)], 3, extras=extras)
