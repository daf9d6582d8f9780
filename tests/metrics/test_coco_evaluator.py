"""kseg.metrics.CocoEvaluator against pycocotools, on files and on batches."""

from __future__ import annotations

import json

import numpy as np
import pytest

import kseg_ops
from kseg.metrics import CocoEvaluator
from kseg_ops import rle
from tests.helpers.coco_data import pycocotools_evaluation, random_coco, shifted
from tests.helpers.shared_data import shared_data

pytest.importorskip("pycocotools", reason="pycocotools is the oracle")

TYPES = {"mask": "segm", "box": "bbox"}
NAMES = ["AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"]
NAMES += ["AR1", "AR10", "AR100", "AR_small", "AR_medium", "AR_large"]


def assert_equal_to_pycocotools(evaluator, iou_type, theirs):
    """The twelve figures, those of the classes, and the curves that they are made of."""
    report = evaluator.report(iou_type)
    np.testing.assert_allclose(report.precision, theirs.eval["precision"][:, :, :, 0, -1], rtol=0, atol=1e-9)
    np.testing.assert_allclose(report.scores, theirs.eval["scores"][:, :, :, 0, -1], rtol=0, atol=1e-9)
    assert list(report.figures) == NAMES
    np.testing.assert_allclose(list(report.figures.values()), theirs.stats, rtol=0, atol=1e-9)
    for index, row in enumerate(report.classes):
        values = theirs.eval["precision"][:, :, index, 0, -1]
        assert row["AP"] == pytest.approx(values[values > -1].mean() if (values > -1).any() else -1, abs=1e-9)
        recalls = theirs.eval["recall"][:, index, 3, -1]  # of large objects
        assert row["AR_large"] == pytest.approx(recalls[recalls > -1].mean() if (recalls > -1).any() else -1, abs=1e-9)
    return report


@pytest.mark.parametrize("seed", range(6))
def test_random_data_equals_pycocotools(seed):
    data, results = random_coco(seed, images=12 if seed else 30)
    assert sum(annotation["iscrowd"] for annotation in data["annotations"]) > 0
    evaluator = CocoEvaluator.from_coco(data, results, ["mask", "box"])
    for ours, theirs in TYPES.items():
        report = assert_equal_to_pycocotools(evaluator, ours, pycocotools_evaluation(data, results, theirs))
        assert 0.05 < report.figures["AP"] < 0.9
        assert report.classes[-1]["AP"] == -1 or any(row["objects"] == 0 for row in report.classes)
        assert evaluator.result()[f"{ours}_AP"] == report.figures["AP"]


def test_the_random_data_have_what_they_should():
    data, results = random_coco(0, images=30)
    images = {image["id"] for image in data["images"]}
    for entries in (data["annotations"], results):
        assert images - {entry["image_id"] for entry in entries}, "every image has some"
        assert {category["id"] for category in data["categories"]} - {entry["category_id"] for entry in entries}
    scores = [result["score"] for result in results]
    assert len(set(scores)) < 0.8 * len(scores)


@pytest.mark.parametrize("iou_type", TYPES)
def test_more_detections_than_count(iou_type):
    data, results = random_coco(20, images=6, most_detections=25, categories=2)
    per_group = {}
    for result in results:
        key = result["image_id"], result["category_id"]
        per_group[key] = per_group.get(key, 0) + 1
    assert max(per_group.values()) > 4
    theirs = pycocotools_evaluation(data, results, TYPES[iou_type], (1, 2, 4))
    evaluator = CocoEvaluator.from_coco(data, results, iou_type, max_detections=(1, 2, 4))
    np.testing.assert_allclose(
        evaluator.report().precision, theirs.eval["precision"][:, :, :, 0, -1], rtol=0, atol=1e-9
    )
    for index, limit in enumerate((1, 2, 4)):
        recall = theirs.eval["recall"][:, :, 0, index]
        assert evaluator.result()[f"AR{limit}"] == pytest.approx(recall[recall > -1].mean(), abs=1e-9)


def test_more_than_a_hundred_detections_of_a_class():
    random = np.random.default_rng(0)
    data, _ = random_coco(1, images=2, categories=2)
    category, image = data["annotations"][0]["category_id"], data["annotations"][0]["image_id"]
    results = [
        {
            "image_id": image,
            "category_id": category,
            "bbox": [*random.uniform(0, 40, 2), *random.uniform(5, 60, 2)],
            "score": float(np.round(random.random(), 1)),
        }
        for _ in range(130)
    ]
    theirs = pycocotools_evaluation(data, results, "bbox")
    assert_equal_to_pycocotools(CocoEvaluator.from_coco(data, results, "box"), "box", theirs)


@pytest.mark.parametrize("iou_type", TYPES)
def test_no_detections(iou_type):
    data, results = random_coco(2)
    figures = CocoEvaluator.from_coco(data, [], iou_type).result()
    assert {name: figures[name] for name in ("AP", "AP50", "AR100")} == {"AP": 0, "AP50": 0, "AR100": 0}
    nothing = {**data, "annotations": []}
    assert set(CocoEvaluator.from_coco(nothing, results, iou_type).result().values()) == {-1}
    assert set(CocoEvaluator(["a"], iou_type).result().values()) == {-1}


def test_fruits_and_nuts(tmp_path):
    """The annotations' polygons, as files; detections made up from them, some shifted, some of another class."""
    path = shared_data("fruits_nuts", "instances.json")
    data = json.loads(path.read_text())
    random = np.random.default_rng(0)
    sizes = {image["id"]: (image["height"], image["width"]) for image in data["images"]}
    results = []
    for annotation in data["annotations"]:
        mask = rle.decode(rle.from_polygons(annotation["segmentation"], sizes[annotation["image_id"]]))
        if random.random() < 0.15:
            continue
        made = rle.encode(shifted(random, mask, int(random.integers(0, 12))))
        x1, y1, x2, y2 = rle.to_boxes(made).tolist()
        category = annotation["category_id"] if random.random() < 0.9 else int(random.integers(1, 4))
        results.append(
            {
                "image_id": annotation["image_id"],
                "category_id": category,
                "segmentation": {"size": made["size"], "counts": made["counts"].decode()},
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": float(np.round(random.random(), 2)),
            }
        )
    found = tmp_path / "results.json"
    found.write_text(json.dumps(results))
    evaluator = CocoEvaluator.from_coco(path, found, ["mask", "box"])
    assert evaluator.class_names == ["date", "fig", "hazelnut"]
    for ours, theirs in TYPES.items():
        report = assert_equal_to_pycocotools(evaluator, ours, pycocotools_evaluation(data, results, theirs))
        assert 0.3 < report.figures["AP"] < 0.95


def boundary_evaluation():
    """pycocotools' evaluation with the overlaps of Cheng et al.'s code, by scipy's erosion."""
    ndimage = pytest.importorskip("scipy.ndimage", reason="scipy is the oracle")
    from pycocotools import mask as coco
    from pycocotools.cocoeval import COCOeval

    def boundary(segmentation):
        mask = coco.decode(segmentation).astype(bool)
        times = max(1, round(0.02 * np.sqrt(mask.shape[0] ** 2 + mask.shape[1] ** 2)))
        inside = ndimage.binary_erosion(np.pad(mask, 1), np.ones((3, 3)), iterations=times)[1:-1, 1:-1]
        return coco.encode(np.asfortranarray(mask & ~inside, dtype=np.uint8))

    class BoundaryEvaluation(COCOeval):
        def computeIoU(self, imgId, catId):
            of_masks = super().computeIoU(imgId, catId)
            truths, found = self._gts[imgId, catId], self._dts[imgId, catId]
            if not (truths and found):
                return of_masks
            order = np.argsort([-one["score"] for one in found], kind="mergesort")[: self.params.maxDets[-1]]
            crowd = np.array([one["iscrowd"] for one in truths])
            sides = [
                [boundary(found[index]["segmentation"]) for index in order],
                [boundary(one["segmentation"]) for one in truths],
            ]
            return np.where(crowd, of_masks, np.minimum(of_masks, coco.iou(*sides, crowd)))

    return BoundaryEvaluation


@pytest.mark.parametrize("seed", [0, 7])
def test_boundary_equals_the_authors_way(seed):
    data, results = random_coco(seed, side=(60, 220))
    theirs = pycocotools_evaluation(data, results, "segm", evaluation_class=boundary_evaluation())
    evaluator = CocoEvaluator.from_coco(data, results, ["mask", "boundary"])
    report = assert_equal_to_pycocotools(evaluator, "boundary", theirs)
    assert report.figures["AP"] < evaluator.result()["mask_AP"]


def test_results_without_boxes_have_those_of_their_masks():
    data, results = random_coco(5)
    for result in results:
        del result["bbox"]
    theirs = pycocotools_evaluation(data, [dict(result) for result in results], "segm")
    # pycocotools makes boxes when it loads results.
    with_boxes = [
        {**result, "bbox": theirs.cocoDt.anns[index + 1]["bbox"].tolist()} for index, result in enumerate(results)
    ]
    boxes = pycocotools_evaluation(data, with_boxes, "bbox")
    assert_equal_to_pycocotools(CocoEvaluator.from_coco(data, results, "box"), "box", boxes)


def batches_of(data, results, size, canvas):
    """COCO's dictionaries as batches of padded arrays: images of different sizes on a canvas."""
    categories = sorted(category["id"] for category in data["categories"])
    height, width = canvas
    for first in range(0, len(data["images"]), size):
        images = data["images"][first : first + size]
        sides = []
        for entries in (data["annotations"], results):
            of_images = [[entry for entry in entries if entry["image_id"] == image["id"]] for image in images]
            most = max(len(of_image) for of_image in of_images) + 2
            side = {
                "boxes": np.zeros((len(images), most, 4), np.float32),
                "classes": np.full((len(images), most), -1, np.int32),
                "scores": np.full((len(images), most), np.nan),
                "areas": np.full((len(images), most), np.nan),
                "crowd": np.zeros((len(images), most), bool),
            }
            masks = np.zeros((len(images), most, height, width), np.uint8)
            for row, of_image in enumerate(of_images):
                for column, entry in enumerate(of_image):
                    place = row, 1 + column  # padding comes first and last
                    x, y, w, h = entry["bbox"]
                    side["boxes"][place] = x, y, x + w, y + h
                    side["classes"][place] = categories.index(entry["category_id"])
                    side["scores"][place] = entry.get("score", np.nan)
                    side["areas"][place] = entry.get("area", np.nan)
                    side["crowd"][place] = entry.get("iscrowd", 0)
                    decoded = rle.decode(entry["segmentation"])
                    masks[place][: decoded.shape[0], : decoded.shape[1]] = decoded
                    if column % 2:  # what lies in the padding does not count
                        masks[place][decoded.shape[0] :] = 1
            side["masks"] = np.packbits(masks, axis=-1, bitorder="little")
            sides.append(side)
        targets, predictions = sides
        del targets["scores"], predictions["areas"], predictions["crowd"]
        targets["sizes"] = np.array([[image["height"], image["width"]] for image in images], np.int32)
        targets["image_ids"] = np.array([image["id"] for image in images], np.int64)
        yield targets, predictions


def test_batches_equal_files():
    data, results = random_coco(11)
    # Boxes of the batches are float32 corners: whole numbers are the same either way.
    for entry in [*data["annotations"], *results]:
        entry["bbox"] = np.round(entry["bbox"]).tolist()
    types = ["mask", "box", "boundary"]
    of_files = CocoEvaluator.from_coco(data, results, types)
    evaluator = CocoEvaluator([category["name"] for category in data["categories"]], types)
    for targets, predictions in batches_of(data, results, 5, (140, 141)):
        evaluator.update_state(targets, predictions)
    assert evaluator.result() == of_files.result()
    assert len(evaluator.result()) == 36
    np.testing.assert_array_equal(evaluator.report("mask").confusion, of_files.report("mask").confusion)
    evaluator.reset_state()
    assert set(evaluator.result().values()) == {-1}


@pytest.mark.parametrize("mode", ["detectron2", "torchvision"])
def test_crops_are_pasted(mode):
    """Crops in the box's frame, of images of two sizes, give what the pasted masks give."""
    random = np.random.default_rng(0)
    crops = random.random((2, 3, 7, 7)).astype(np.float32)
    boxes = np.array([[[2, 3, 20, 25], [-4, 10, 15, 40], [0, 0, 5, 5]]] * 2, np.float32)
    sizes = np.array([[30, 22], [25, 37]], np.int32)
    classes = np.array([[0, 1, -1], [1, 0, 1]])
    pasted = np.zeros((2, 3, 30, 40), np.uint8)
    for row, (height, width) in enumerate(sizes):
        masks = kseg_ops.paste_masks(crops[row], boxes[row], (int(height), int(width)), threshold=0.4, mode=mode)
        pasted[row, :, :height, :width] = masks.numpy()
    packed = np.packbits(pasted, axis=-1, bitorder="little")
    targets = {"boxes": boxes, "classes": classes, "masks": packed, "sizes": sizes}
    found = {"boxes": boxes, "classes": classes, "scores": random.random((2, 3)), "masks": crops}
    evaluator = CocoEvaluator(["a", "b"], mask_threshold=0.4, paste_mode=mode)
    evaluator.update_state(targets, found)
    assert evaluator.result()["AP"] == pytest.approx(1)
    # Not so with another threshold: what was pasted there is what this one pastes.
    other = CocoEvaluator(["a", "b"], mask_threshold=0.7, paste_mode=mode)
    other.update_state(targets, found)
    assert other.result()["AP"] < 0.9


def test_areas_of_targets_are_those_of_masks_or_of_boxes():
    mask = np.zeros((1, 1, 40, 40), np.uint8)
    mask[..., 2:12, 2:12] = 1  # 100 pixels in a box of 1600
    targets = {"boxes": [[[0, 0, 40, 40]]], "classes": [[0]]}
    found = {**targets, "scores": [[0.5]]}
    sizes = {}
    for name, more in {
        "boxes": {},
        "masks": {"masks": np.packbits(mask, axis=-1, bitorder="little")},
        "areas": {"areas": [[10000.0]]},
    }.items():
        evaluator = CocoEvaluator(["a"], "box")
        evaluator.update_state({**targets, **more}, found)
        sizes[name] = [row["objects"] for row in evaluator.report().sizes]
    assert sizes == {"boxes": [1, 0, 1, 0], "masks": [1, 1, 0, 0], "areas": [1, 0, 0, 1]}
