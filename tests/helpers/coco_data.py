"""Random data sets in COCO's format, with what an evaluation can trip over, and pycocotools' figures of them."""

from __future__ import annotations

import contextlib
import copy
import io

import numpy as np

from kseg_ops import rle


def random_mask(random, height, width):
    """A rectangle with noise, or an ellipse; at times a single pixel."""
    y, x = np.mgrid[:height, :width]
    centre = random.uniform(0, 1, 2) * (height, width)
    radii = random.uniform(1, 0.6 * max(height, width), 2)
    if random.random() < 0.5:
        mask = np.hypot((y - centre[0]) / radii[0], (x - centre[1]) / radii[1]) < 1
    else:
        mask = (abs(y - centre[0]) < radii[0]) & (abs(x - centre[1]) < radii[1]) & (random.random(y.shape) < 0.9)
    mask[int(centre[0]), int(centre[1])] = True
    return mask


def shifted(random, mask, most):
    """The mask moved a little, so that IoU takes all values."""
    by = random.integers(-most, most + 1, 2)
    return np.roll(mask, by, (0, 1))


def as_json(mask):
    """A compressed RLE with text, as a JSON file has it."""
    made = rle.encode(mask.astype(np.uint8))
    return {"size": made["size"], "counts": made["counts"].decode()}


def entry_of(mask, image_id, category_id):
    """What annotations and results share; the box has fractions, as detectors' have."""
    x1, y1, x2, y2 = rle.to_boxes(rle.encode(mask.astype(np.uint8))).tolist()
    return {
        "image_id": image_id,
        "category_id": category_id,
        "segmentation": as_json(mask),
        "bbox": [x1, y1, x2 - x1, y2 - y1],
    }


def random_coco(seed, images=12, most_truths=7, most_detections=9, categories=4, side=(20, 140)):
    """Ground truth and results: crowds, equal scores, images without the one or the other, an unused category."""
    random = np.random.default_rng(seed)
    # Neither ids nor their order are those of the entries.
    category_ids = random.permutation(np.arange(3, 3 + 2 * categories, 2)).tolist()
    used = category_ids[:-1]
    data = {
        "images": [],
        "categories": [{"id": number, "name": f"thing {number}"} for number in category_ids],
        "annotations": [],
    }
    results = []
    for image_id in random.permutation(np.arange(1, 5 * images, 5)).tolist():
        height, width = random.integers(*side, 2).tolist()
        data["images"].append({"id": image_id, "height": height, "width": width})
        masks = []
        for _ in range(int(random.integers(0, most_truths + 1)) if random.random() < 0.85 else 0):
            mask = random_mask(random, height, width)
            category = int(random.choice(used))
            masks.append((mask, category))
            annotation = entry_of(mask, image_id, category)
            annotation["iscrowd"] = int(random.random() < 0.15)
            # Areas of annotations are those of polygons: not those of the pixels.
            annotation["area"] = float(mask.sum() * random.choice([1, 1, 0.9]))
            annotation["id"] = len(data["annotations"]) + 1
            data["annotations"].append(annotation)
        for _ in range(int(random.integers(0, most_detections + 1)) if random.random() < 0.85 else 0):
            if masks and random.random() < 0.8:
                mask, category = masks[random.integers(len(masks))]
                mask = shifted(random, mask, 4)
                if random.random() < 0.1:
                    category = int(random.choice(used))
            else:
                mask, category = random_mask(random, height, width), int(random.choice(used))
            score = float(random.choice([np.round(random.random(), 1), random.random()]))
            results.append({**entry_of(mask, image_id, category), "score": score})
    random.shuffle(results)
    for annotation in data["annotations"]:
        annotation["bbox"] = (np.array(annotation["bbox"]) + random.uniform(-0.5, 0.5, 4)).tolist()
    for result in results:
        result["bbox"] = (np.array(result["bbox"]) + random.uniform(-0.5, 0.5, 4)).tolist()
    return data, results


def pycocotools_evaluation(data, results, iou_type, max_detections=(1, 10, 100), evaluation_class=None):
    """pycocotools' COCOeval of one type, accumulated and, for three limits of detections, summarised.

    For masks the boxes are taken out of the results: with them, pycocotools takes the areas of boxes.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    dropped = {"segm": "bbox", "bbox": "segmentation"}[iou_type]
    results = [{key: value for key, value in result.items() if key != dropped} for result in results]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(data)
        truth.dataset.setdefault("info", {})
        truth.createIndex()
        found = truth.loadRes(copy.deepcopy(results)) if results else COCO()
        evaluation = (evaluation_class or COCOeval)(truth, found, iou_type)
        evaluation.params.maxDets = list(max_detections)
        evaluation.evaluate()
        evaluation.accumulate()
        if len(max_detections) == 3 and max_detections[-1] == 100:
            evaluation.summarize()
    return evaluation
