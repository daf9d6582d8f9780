"""Exports compared with their models, by a script that knows nothing of kseg."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from kseg_cli import check_export, export_check

import kseg
from tests.helpers.detector_cases import rectangles, tiny_detector

IMAGE = rectangles(1)[0][0]


def detector(kind):
    """With scores that lie apart."""
    keras.utils.set_random_seed(2)
    model = tiny_detector(kind, levels=(2, 3), anchor_sizes=(12, 20, 32))
    for layer in (model.box_head.logits, model.box_head.deltas, model.rpn_head.objectness):
        layer.kernel.assign(30 * layer.kernel)
    return model


@pytest.mark.parametrize("kind", [kseg.FasterRCNN, kseg.MaskRCNN])
def test_a_detector(tmp_path, kind):
    model = detector(kind)
    exported = kseg.export(model, tmp_path / "export").path
    count = int((model.predict_on_batch(IMAGE[None])["classes"] >= 0).sum())
    assert count >= 5
    what = "box and mask" if kind is kseg.MaskRCNN else "box"
    assert export_check.compare(model, exported, IMAGE) == (
        True,
        f"{count} objects, each with the expected class, score, {what}",
    )
    model.box_head.deltas.bias.assign(model.box_head.deltas.bias + 0.1)
    agrees, line = export_check.compare(model, exported, IMAGE)
    assert not agrees
    assert line.startswith("FAILED: ")
    assert "objects have no like" in line


def test_class_maps(tmp_path):
    model = kseg.UNet(3, filters=4, depth=2)
    exported = kseg.export(model, tmp_path / "export").path
    agrees, line = export_check.compare(model, exported, IMAGE)
    assert agrees, line
    assert line.startswith("100 % of pixels the same class")


def found(**changes):
    """Three objects of one image in four places."""
    arrays = {
        "boxes": np.array([[[0, 0, 9, 9], [5, 5, 20, 20], [1, 2, 3, 4], [0, 0, 0, 0]]], np.float32),
        "scores": np.array([[0.9, 0.8, 0.3, 0]], np.float32),
        "classes": np.array([[1, 0, 1, -1]]),
        "masks": np.full((1, 4, 2, 2), 0.7, np.float32),
    }
    return {name: changes.get(name, value).copy() for name, value in arrays.items()}


def test_the_order_does_not_matter():
    swapped = {name: value[:, [1, 0, 2, 3]] for name, value in found().items()}
    assert check_export.objects(swapped, found(), 100)[0]


@pytest.mark.parametrize(
    ("name", "index", "change", "agrees"),
    [
        ("boxes", (0, 1, 2), 0.005, True),  # a hundredth of a pixel in 100
        ("boxes", (0, 1, 2), 0.02, False),
        ("scores", (0, 1), 5e-5, True),
        ("scores", (0, 1), 2e-4, False),
        ("classes", (0, 1), 1, False),
        ("masks", (0, 1, 0, 1), 5e-3, True),
        ("masks", (0, 1, 0, 1), 0.02, False),
        ("boxes", (0, 3, 2), 50, True),  # padding
        ("boxes", (0, 2, 2), 50, True),  # the least certain of all
    ],
)
def test_tolerances(name, index, change, agrees):
    changed = found()
    changed[name][index] += change
    assert check_export.objects(changed, found(), 100)[0] == agrees
    assert check_export.objects(found(), changed, 100)[0] == agrees


def test_what_is_missing():
    fewer = found()
    fewer["classes"][0, 1:] = -1
    assert check_export.objects(fewer, found(), 100) == (
        False,
        "1 objects have no like, of 3 expected and 1 found",
    )
    without = {name: value for name, value in found().items() if name != "masks"}
    assert check_export.objects(without, found(), 100) == (
        False,
        "the export gives boxes, classes, scores, expected boxes, classes, masks, scores",
    )
