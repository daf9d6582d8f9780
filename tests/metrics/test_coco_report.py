"""What kseg.metrics.CocoEvaluator reports beyond COCO's figures, on cases worked out by hand; and its errors."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from kseg.metrics import CocoEvaluator, CocoReport
from kseg_ops import rle


def boxes_of(*lefts):
    """Boxes of 10 x 10 pixels."""
    return [[left, 0, left + 10, 10] for left in lefts]


def evaluated(**options):
    """Two images with three objects, one of them a crowd, and five detections."""
    evaluator = CocoEvaluator(["cat", "dog"], "box", **options)
    evaluator.update_state(
        {"boxes": [boxes_of(0, 50), boxes_of(0, 0)], "classes": [[0, 1], [1, -1]], "crowd": [[0, 0], [1, 0]]},
        {
            "boxes": [boxes_of(1, 50, 80), boxes_of(0, 0, 30)],
            "classes": [[0, 0, 1], [1, 0, 1]],
            "scores": [[0.9, 0.8, 0.7], [0.9, 0.9, 0.4]],
        },
    )
    return evaluator


def test_confusion_matrix():
    report = evaluated().report()
    assert isinstance(report, CocoReport)
    # The cat is found, the dog taken for a cat; a dog is detected where nothing is. Left out are the detections in the
    # crowd, whatever their class, and the one below a score of 0.5.
    assert report.confusion.tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 0]]
    surer = evaluated().report(confusion_score=0.85)
    assert surer.confusion.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    stricter = evaluated().report(confusion_iou=0.9)  # the cat's overlap is 90 of 110 pixels
    assert stricter.confusion.tolist() == [[0, 0, 1], [1, 0, 0], [1, 1, 0]]
    assert (stricter.confusion_iou, stricter.confusion_score) == (0.9, 0.5)


def test_classes_sizes_and_curves():
    report = evaluated(iou_thresholds=[0.5, 0.8, 0.9], area_ranges={"tiny": (0, 99), "small": (100, 1024)}).report()
    assert [row["name"] for row in report.classes] == ["cat", "dog"]
    assert [row["objects"] for row in report.classes] == [1, 1]
    # The cat: found at two of three thresholds, first by score, with an overlap of 0.818.
    assert report.classes[0]["AP"] == pytest.approx(2 / 3)
    assert report.classes[0]["AP50"] == pytest.approx(1)
    assert "AP75" not in report.classes[0]
    assert report.classes[1]["AP"] == 0
    assert [(row["name"], row["low"], row["high"], row["objects"]) for row in report.sizes] == [
        ("all", 0, 1e10, 2),
        ("tiny", 0, 99, 0),
        ("small", 100, 1024, 2),
    ]
    assert report.sizes[1]["AP"] == report.sizes[1]["AR"] == report.figures["AP_tiny"] == -1
    assert report.sizes[2]["AP"] == report.figures["AP_small"] == pytest.approx(1 / 3)
    assert report.precision.shape == report.scores.shape == (3, 101, 2)
    np.testing.assert_allclose(report.precision[:, :, 0], np.repeat([[1], [1], [0]], 101, axis=1), rtol=1e-15)
    assert set(report.scores[0, :, 0]) == {0.9}
    content = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert content["sizes"][1]["AP"] is None
    assert content["classes"][1]["AP"] == 0
    assert content["confusion_matrix"] == report.confusion.tolist()


def test_classes_without_names_are_those_that_occur():
    evaluator = CocoEvaluator(iou_type="box")
    evaluator.update_state(
        {"boxes": [boxes_of(0)], "classes": [[2]]}, {"boxes": [boxes_of(0)], "classes": [[1]], "scores": [[1.0]]}
    )
    assert [row["name"] for row in evaluator.report().classes] == ["0", "1", "2"]
    assert evaluator.result()["AP"] == 0
    assert [row["AP"] for row in evaluator.report().classes] == [-1, -1, 0]


def test_equal_scores_are_ranked_by_the_ids_of_images():
    def average_precision(ids):
        evaluator = CocoEvaluator(["a"], "box")
        for image_id, left in zip(ids, (0, 50), strict=True):  # a hit, then a miss, of equal scores
            evaluator.update_state(
                {"boxes": [boxes_of(0)], "classes": [[0]], "image_ids": np.array([image_id])},
                {"boxes": [boxes_of(left)], "classes": [[0]], "scores": [[0.5]]},
            )
        return evaluator.result()["AP50"]

    assert average_precision([1, 2]) == pytest.approx(51 / 101)  # precision 1 up to the recall of a half
    assert average_precision([2, 1]) == pytest.approx(51 / 101 / 2)


def test_tensors_and_empty_batches():
    evaluator = CocoEvaluator(["a"], "box")
    evaluator.update_state(
        {"boxes": tf.zeros([2, 0, 4]), "classes": tf.zeros([2, 0], tf.int32)},
        {"boxes": tf.zeros([2, 3, 4]), "classes": tf.fill([2, 3], -1), "scores": tf.zeros([2, 3], tf.bfloat16)},
    )
    assert set(evaluator.result().values()) == {-1}


TARGETS = {"boxes": np.zeros((1, 1, 4), np.float32), "classes": np.zeros((1, 1), np.int32)}
TARGETS["masks"] = np.zeros((1, 1, 8, 1), np.uint8)
FOUND = {**TARGETS, "scores": np.zeros((1, 1), np.float32)}


@pytest.mark.parametrize(
    ("targets", "predictions", "error", "text"),
    [
        ([], {}, TypeError, "targets must be a dictionary of arrays, got list"),
        ({"boxes": None}, {}, TypeError, r"targets\['boxes'\] must be numbers, got object"),
        ({"classes": np.zeros((1, 1))}, {}, TypeError, r'targets\["classes"\] must be integers, got float64'),
        ({"classes": [[2]]}, {}, ValueError, r'targets\["classes"\] must be 0 to 1, or -1 for padding, got 2'),
        ({}, {"classes": [[-2]]}, ValueError, r'predictions\["classes"\] must be 0 to 1, or -1 for padding, got -2'),
        (
            {"boxes": np.zeros((1, 2, 4))},
            {},
            ValueError,
            r"targets\['boxes'\] must have shape \(1, 1, 4\), got \(1, 2, 4\)",
        ),
        (
            {},
            {"boxes": np.zeros((1, 1, 4), np.float16)},
            TypeError,
            r'predictions\["boxes"\] must be float32, got float16',
        ),
        ({}, {"boxes": tf.zeros((1, 1, 4), tf.bfloat16)}, TypeError, r'\["boxes"\] must be float32, got bfloat16'),
        ({}, {"boxes": [[[0, 0, np.nan, 1]]]}, ValueError, r'predictions\["boxes"\] must be finite'),
        ({}, {"scores": [[np.nan]]}, ValueError, r'predictions\["scores"\] must be finite, got nan'),
        ({}, {"scores": [0.5]}, ValueError, r"predictions\['scores'\] must have shape \(1, 1\), got \(1,\)"),
        (
            {"masks": np.zeros((1, 1, 8, 8))},
            {},
            TypeError,
            r"must be uint8, packed by kseg_ops.pack_masks, got float64",
        ),
        ({}, {"masks": np.zeros((1, 1, 8, 1), int)}, TypeError, r'predictions\["masks"\] must be floats \(prob'),
        (
            {},
            {"masks": np.zeros((1, 2, 7, 7))},
            ValueError,
            r"predictions\['masks'\] must have shape \(1, 1, any, any\)",
        ),
        ({"sizes": [[9, 8]]}, {}, ValueError, r"must hold the image's 9 x 8 pixels, got 8 rows of 1 bytes"),
        ({"sizes": [[-1, 8]]}, {}, ValueError, r'targets\["sizes"\] must not be negative, got -1'),
        ({"crowd": [[0.5]]}, {}, TypeError, r"targets\['crowd'\] must be bools or integers, got float64"),
        ({"areas": [[np.inf]]}, {}, ValueError, r'targets\["areas"\] must be finite, got inf'),
        ({"image_ids": [1.0]}, {}, ValueError, r'targets\["image_ids"\] must be integers of shape \(1,\), got float64'),
        (
            {},
            {name: np.repeat(array, 2, axis=0) for name, array in FOUND.items()},
            ValueError,
            "targets and predictions must have one batch size, got 1 and 2",
        ),
    ],
)
def test_bad_batches(targets, predictions, error, text):
    evaluator = CocoEvaluator(["a", "b"], ["mask", "box"])
    targets = {**TARGETS, **targets} if isinstance(targets, dict) else targets
    with pytest.raises(error, match=text):
        evaluator.update_state(targets, {**FOUND, **predictions})
    assert set(evaluator.result().values()) == {-1}


@pytest.mark.parametrize("key", ["boxes", "classes", "masks", "scores"])
def test_missing_entries(key):
    evaluator = CocoEvaluator(["a"])
    with pytest.raises(ValueError, match=rf"predictions must have '{key}', got the keys \["):
        evaluator.update_state(TARGETS, {name: value for name, value in FOUND.items() if name != key})


def test_images_that_come_twice():
    evaluator = CocoEvaluator(["a"])
    evaluator.update_state({**TARGETS, "image_ids": [7]}, FOUND)
    with pytest.raises(ValueError, match="must be new, got 7 at position 0 for the second time"):
        evaluator.update_state({**TARGETS, "image_ids": [7]}, FOUND)
    with pytest.raises(ValueError, match='must have "image_ids" in every batch or in none'):
        evaluator.update_state(TARGETS, FOUND)


def test_inside_a_graph():
    evaluator = CocoEvaluator(["a"], "box")

    @tf.function(autograph=False)
    def step(boxes):
        evaluator.update_state({**TARGETS, "boxes": boxes}, FOUND)

    with pytest.raises(TypeError, match=r"targets\['boxes'\] must be an array or an eager tensor.*outside of it"):
        step(tf.zeros([1, 1, 4]))


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"iou_type": "segm"}, ValueError, "iou_type must be 'box', 'mask' or 'boundary', got 'segm'"),
        ({"iou_type": []}, ValueError, r"iou_type must be one or several different types, got \[\]"),
        ({"class_names": "cat"}, TypeError, "class_names must be a list of names, at least one, got 'cat'"),
        ({"max_detections": (10, 1)}, ValueError, r"max_detections must be rising whole numbers above 0.*\(10, 1\)"),
        ({"iou_thresholds": [0.5, 1.5]}, ValueError, r"iou_thresholds must be numbers above 0 and at most 1"),
        ({"area_ranges": {"all": (0, 1)}}, ValueError, r"area_ranges must give each name \(other than 'all'\)"),
        ({"dilation_ratio": 2}, ValueError, r"dilation_ratio must be a number in 0\.\.1, got 2"),
        ({"mask_threshold": 0}, ValueError, "threshold must be a number in"),
        ({"paste_mode": "pillow"}, ValueError, "paste_mode must be 'detectron2' or 'torchvision', got 'pillow'"),
    ],
)
def test_bad_options(options, error, text):
    with pytest.raises(error, match=text):
        CocoEvaluator(**options)


def test_a_type_that_is_not_evaluated():
    with pytest.raises(ValueError, match="iou_type must be one that is evaluated, box, got 'mask'"):
        evaluated().report("mask")


MASK = rle.encode(np.ones((4, 5), np.uint8))
COCO = {
    "images": [{"id": 1, "height": 4, "width": 5}],
    "categories": [{"id": 3, "name": "cat"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "segmentation": MASK, "bbox": [0, 0, 5, 4]}],
}
RESULT = {"image_id": 1, "category_id": 3, "score": 0.5, "segmentation": MASK, "bbox": [0, 0, 5, 4]}


def test_files_without_areas_and_crowds():
    assert CocoEvaluator.from_coco(COCO, [RESULT]).result()["AP_small"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "result", "text"),
    [
        ({"annotations": None}, {}, r"annotations must hold a list of annotations, got None"),
        (
            {"images": [{"height": 4}]},
            {},
            r"annotations: images\[0\] must be a dictionary with id, a number or a text, got",
        ),
        ({"annotations": [{"image_id": 1}]}, {}, r"annotations\[0\] must be a dictionary with category_id, got"),
        ({"images": [{"id": 1}, {"id": 1}]}, {}, r"images\[1\] must have an id of its own, got 1 for the second time"),
        ({"categories": [{"name": "a"}]}, {}, r"categories\[0\] must be a dictionary with id, a number or a text, got"),
        ({"images": [{"id": 1}]}, {}, r"annotations: image 1 must have 'height'"),
        ({}, {"image_id": 2}, r"results\[0\] image_id must be that of one of the annotations' images, got 2"),
        ({}, {"category_id": 1}, r"results\[0\] category_id must be that of one of the annotations' categories, got 1"),
        ({}, {"image_id": [1]}, r"results\[0\] image_id must be that of one of the annotations' images, got \[1\]"),
        ({}, {"score": "high"}, r"results\[0\] score must be a finite number, got 'high'"),
        ({}, {"score": float("nan")}, r"results\[0\] score must be a finite number, got nan"),
        (
            {},
            {"segmentation": {"size": [5, 4], "counts": b""}},
            r"results\[0\] segmentation must have its image's size",
        ),
        ({}, {"segmentation": {"size": [4, 5], "counts": [7]}}, r"segmentation of results\[0\] counts must sum to"),
        ({}, {"segmentation": [[1, 2, 3]]}, r"results\[0\] segmentation: polygons\[0\] must"),
        ({}, {"segmentation": None}, r"results\[0\] segmentation must be an RLE or a list of polygons, got None"),
        ({}, {"bbox": [1, 2, 3]}, r"results\[0\] bbox must be x, y, width and height, finite and .*, got \[1, 2, 3\]"),
        ({}, {"bbox": [1, 2, -3, 4]}, r"results\[0\] bbox must be .* the last two at least 0, got \[1, 2, -3, 4\]"),
        ({}, {"score": "0.5"}, r"results\[0\] score must be a finite number, got '0.5'"),
        (
            {"annotations": [{"id": 3, "image_id": 1, "category_id": 3}] * 2},
            {},
            r"annotations\[1\] must have an id of its own, got 3 for the second time: are files merged",
        ),
    ],
)
def test_bad_files(change, result, text):
    with pytest.raises(ValueError, match=text):
        CocoEvaluator.from_coco({**COCO, **change}, [{**RESULT, **result}], ["mask", "box"])


def test_bad_json(tmp_path):
    path = tmp_path / "broken.json"
    path.write_text("{")
    with pytest.raises(ValueError, match=r"annotations: .*broken\.json is not JSON"):
        CocoEvaluator.from_coco(path, [])
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"annotations: .*broken\.json .*nested too deeply"):
        CocoEvaluator.from_coco(path, [])
    path.write_text("[1]", encoding="utf-8-sig")
    with pytest.raises(ValueError, match=r"annotations must be a dictionary with images.*, got list in .*broken"):
        CocoEvaluator.from_coco(path, [])
    with pytest.raises(ValueError, match=r"results must be a list of dictionaries, got dict with the keys \['a'\]"):
        CocoEvaluator.from_coco(COCO, {"a": 1})
    with pytest.raises(OSError, match="absent"):
        CocoEvaluator.from_coco(COCO, tmp_path / "absent.json")
