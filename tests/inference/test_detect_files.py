"""Objects in image files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import kseg
from kseg.inference import Detections, detect_files
from kseg.inference.detect_files import above, coco_entries
from tests.helpers.detector_cases import rectangles, tiny_detector


@pytest.fixture(scope="module")
def model():
    return tiny_detector(seed=1)


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for index, image in enumerate(rectangles(2, seed=3)[0]):
        Image.fromarray(image).save(folder / f"{index}.png")
    return folder


def test_the_files_hold_what_predict_instances_gives(model, pictures, tmp_path):
    expected = [kseg.predict_instances(model, str(pictures / f"{index}.png"), 0) for index in range(2)]
    threshold = float(expected[1].scores[2])
    results = detect_files(model, pictures, tmp_path / "out", threshold, category_ids=[5, 3])
    assert [result.objects for result in results] == [int((one.scores >= threshold).sum()) for one in expected]
    entries = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert [entry["image_id"] for entry in entries] == [1] * len(expected[0]) + [2] * len(expected[1])
    classes = np.concatenate([one.classes for one in expected])
    assert [entry["category_id"] for entry in entries] == [(5, 3)[one] for one in classes]
    np.testing.assert_array_equal([entry["score"] for entry in entries], np.concatenate([o.scores for o in expected]))
    picture = np.asarray(Image.open(tmp_path / "out" / "1_overlay.png"))
    np.testing.assert_array_equal(picture, above(expected[1], threshold).plot(zoom=7))  # 72 pixels wide


def test_entries_of_boxes():
    found = Detections(
        boxes=np.array([[1, 2, 4.5, 8]], np.float32),
        classes=np.array([1], np.int32),
        scores=np.array([0.5], np.float32),
        crops=None,
        image=np.zeros((9, 9, 3)),
    )
    assert coco_entries(found, 7, [10, 20], "a.png") == [
        {"image_id": 7, "category_id": 20, "bbox": [1, 2, 3.5, 6], "score": 0.5, "file_name": "a.png"}
    ]
    assert coco_entries(above(found, 0.6), 7, [10, 20], "a.png") == []


def test_bad_arguments(model, pictures, tmp_path):
    with pytest.raises(ValueError, match="category_ids must hold 2, one per class; got 3"):
        detect_files(model, pictures, tmp_path, category_ids=[1, 2, 3])
    with pytest.raises(ValueError, match=r"image_ids must have every image; 1 of 2 are missing, such as 1\.png"):
        detect_files(model, pictures, tmp_path, image_ids={"0.png": 3})
    (pictures / "1_overlay.png").write_bytes((pictures / "1.png").read_bytes())
    with pytest.raises(ValueError, match=r"the result of .*1\.png would overwrite an input, 1_overlay\.png"):
        detect_files(model, pictures, pictures)
