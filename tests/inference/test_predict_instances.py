"""The objects of one image."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

import kseg
from kseg.inference import Detections
from kseg_ops import _library, rle
from tests.helpers.detector_cases import rectangles, tiny_detector


def instances(**options):
    """Two boxes of 4 x 2 and 2 x 6 pixels; of the second's mask, the left half."""
    crops = np.ones((2, 28, 28), "float32")
    crops[1, :, 14:] = 0
    given = {
        "boxes": np.array([[2, 3, 6, 5], [10, 1, 12, 7]], "float32"),
        "classes": np.array([1, 0], "int32"),
        "scores": np.array([0.9, 0.75], "float32"),
        "crops": crops,
        "image": np.full((9, 16, 3), 100, "uint8"),
    }
    return Detections(**{**given, **options})


def test_masks_by_hand():
    found = instances()
    masks = found.masks()
    expected = np.zeros((2, 9, 16), bool)
    expected[0, 3:5, 2:6] = True
    expected[1, 1:7, 10:11] = True
    np.testing.assert_array_equal(masks, expected)
    assert masks.dtype == bool
    np.testing.assert_array_equal(found.mask(1), expected[1])
    assert len(found) == 2


def test_pasting_as_torchvision_does():
    """The box grows by a pixel of the mask, is cut to whole pixels, and one more is added on the right."""
    masks = instances(paste_mode="torchvision").masks()
    expected = np.zeros((9, 16), bool)
    expected[2:6, 1:7] = True
    np.testing.assert_array_equal(masks[0], expected)
    assert tiny_detector().paste_mode == "torchvision"
    assert tiny_detector(aligned=True).paste_mode == "detectron2"


def test_run_lengths():
    found = instances()
    rles = found.rle()
    assert [one["size"] for one in rles] == [[9, 16]] * 2
    if _library.core() is None:
        # By columns: those of the first begin in column 2, row 3.
        assert rles[0]["counts"][:3] == [2 * 9 + 3, 2, 7]
        json.dumps(rles)
    else:
        np.testing.assert_array_equal(rle.decode(rles), found.masks())
    assert instances(boxes=np.zeros((0, 4), "float32"), crops=np.zeros((0, 28, 28), "float32")).rle() == []


def test_many_masks():
    """More than are pasted at a time, each in a place of its own."""
    places = np.array([[2 * index, index % 4] for index in range(19)], "float32")
    many = {
        "boxes": np.concatenate([places, places + [2, 3]], axis=1).astype("float32"),
        "classes": np.zeros(19, "int32"),
        "scores": np.ones(19, "float32"),
        "crops": np.ones((19, 28, 28), "float32"),
        "image": np.zeros((9, 40, 3), "uint8"),
    }
    found = instances(**many)
    masks = found.masks()
    for index, (x, y) in enumerate(places.astype(int)):
        assert masks[index].sum() == masks[index, y : y + 3, x : x + 2].sum() == 6
        np.testing.assert_array_equal(found.mask(index), masks[index])
    for one, mask in zip(found.rle(), masks, strict=True):
        if isinstance(one["counts"], list):
            assert sum(one["counts"][1::2]) == 6
        else:
            np.testing.assert_array_equal(rle.decode(one), mask)


def test_labels():
    assert instances().labels == ["1 0.90", "0 0.75"]
    assert instances(class_names=("nut", "fig")).labels == ["fig 0.90", "nut 0.75"]


def test_pictures():
    plain = instances().image
    drawn = instances(class_names=("", "")).plot()
    assert drawn.shape == (9, 16, 3)
    assert drawn.dtype == np.uint8
    assert (drawn != plain).any()
    boxes = kseg.viz.instances_overlay(plain, instances().boxes)
    changed = (boxes != plain).any(-1)
    expected = np.zeros((9, 16), bool)
    expected[3:5, 2:6] = True
    expected[1:7, 10:12] = True  # two pixels wide: all of it is its border
    np.testing.assert_array_equal(changed, expected)
    filled = kseg.viz.instances_overlay(plain, instances().boxes, instances().masks(), alpha=1.0)
    np.testing.assert_array_equal((filled != plain).any(-1), instances().masks().any(0))
    # What is more certain lies on top.
    twice = kseg.viz.instances_overlay(plain, [[0, 0, 4, 4]] * 2, np.ones((2, 9, 16)), alpha=1.0)
    assert (twice == kseg.viz.palette(2)[1]).all()


def test_magnified_pictures():
    plain, found = instances().image, instances()
    small = kseg.viz.instances_overlay(plain, found.boxes, found.masks(), alpha=1.0, contour_width=0)
    large = kseg.viz.instances_overlay(plain, found.boxes, found.masks(), alpha=1.0, contour_width=0, zoom=3)
    np.testing.assert_array_equal(large, small.repeat(3, axis=0).repeat(3, axis=1))
    boxes = kseg.viz.instances_overlay(np.zeros((9, 16), np.uint8), [[2, 3, 6, 5]], zoom=2)
    assert [(int(where.min()), int(where.max())) for where in np.nonzero(boxes.any(-1))] == [(6, 9), (4, 11)]
    assert found.plot(zoom=4).shape == (36, 64, 3)


def test_labels_hide_neither_objects_nor_each_other():
    place = kseg.viz.label_places.place_labels
    # Above; below at the picture's upper edge; shifted inwards at the right edge.
    boxes = np.array([[10, 20, 30, 40], [50, 2, 60, 12], [90, 60, 100, 70]])
    assert place(boxes, [(25, 8)] * 3, (100, 100)) == [(10, 12), (50, 12), (75, 52)]
    # Another label is above: below.
    assert place([[10, 20, 30, 40], [12, 20, 32, 40]], [(25, 8)] * 2, (100, 100)) == [(10, 12), (12, 40)]
    # The object fills the picture: within it.
    assert place([[0, 0, 30, 30]], [(25, 8)], (30, 30)) == [(0, 0)]
    assert place([[0, 0, 30, 30]], [(50, 8)], (30, 30)) == [(0, 0)]
    assert place(np.zeros((0, 4)), [], (30, 30)) == []


def test_refused_pictures():
    image, boxes = np.zeros((4, 4)), np.zeros((2, 4))
    with pytest.raises(ValueError, match=r"masks must be as many as boxes, 2, got 1"):
        kseg.viz.instances_overlay(image, boxes, np.zeros((1, 4, 4)))
    with pytest.raises(ValueError, match=r"labels must be as many as boxes, 2, got 0"):
        kseg.viz.instances_overlay(image, boxes, labels=[])
    with pytest.raises(ValueError, match=r"masks must have the image's size \(4, 4\), got shape \(3, 4\)"):
        kseg.viz.instances_overlay(image, boxes, np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match=r"alpha must lie between 0 and 1, got 2"):
        kseg.viz.instances_overlay(image, boxes, alpha=2)
    with pytest.raises(ValueError, match=r"zoom must be a positive int, got 0"):
        kseg.viz.instances_overlay(image, boxes, zoom=0)


def test_prediction():
    model = tiny_detector(class_names=("a", "b"))
    model.compile(run_eagerly=True)
    image = rectangles(1)[0][0]
    found = kseg.predict_instances(model, image, score_threshold=0)
    every = model.predict_on_batch(image[None])
    count = (every["classes"][0] >= 0).sum()
    assert len(found) == count > 1
    np.testing.assert_array_equal(found.boxes, every["boxes"][0, :count])
    np.testing.assert_array_equal(found.crops, every["masks"][0, :count])
    assert found.masks().shape == (count, *image.shape[:2])
    assert found.plot().shape == image.shape
    threshold = float(found.scores[0])
    assert len(kseg.predict_instances(model, image, threshold)) == (found.scores >= threshold).sum()
    assert len(kseg.predict_instances(model, image, 1.0)) == 0


def test_resizing():
    """Boxes come back in pixels of the image, whatever size the model saw it in."""
    model = tiny_detector(kseg.FasterRCNN)
    model.compile(run_eagerly=True)
    image = rectangles(1)[0][0]
    height, width = image.shape[:2]

    def seen(image, size):
        boxes = model.predict_on_batch(tf.image.resize(image, size)[None])["boxes"][0]
        return boxes / (np.array([*size[::-1]] * 2) / np.array([*image.shape[1::-1]] * 2))

    found = kseg.predict_instances(model, image, 0, shorter_side=2 * height)
    np.testing.assert_allclose(found.boxes, seen(image, (2 * height, 2 * width))[: len(found)], rtol=1e-6)
    found = kseg.predict_instances(model, image, 0, shorter_side=500, longer_side=width // 2)
    np.testing.assert_allclose(found.boxes, seen(image, (height // 2, width // 2))[: len(found)], rtol=1e-6)
    assert found.image_size == (height, width)
    with pytest.raises(ValueError, match="there are no masks: a FasterRCNN gives boxes only"):
        found.rle()


def test_refusals():
    model = tiny_detector()
    image = rectangles(1)[0][0]
    with pytest.raises(TypeError, match=r"model must be a kseg.MaskRCNN or kseg.FasterRCNN; got int"):
        kseg.predict_instances(3, image)
    with pytest.raises(ValueError, match=r"score_threshold must be a number in 0\.\.1; got 2"):
        kseg.predict_instances(model, image, 2)
    with pytest.raises(ValueError, match="shorter_side must be a positive int or None; got 0"):
        kseg.predict_instances(model, image, shorter_side=0)
    with pytest.raises(ValueError, match=r"image must have 3 channels, as the model does; got the shape \(64, 72, 1\)"):
        kseg.predict_instances(model, image[..., 0])
