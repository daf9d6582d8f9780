"""COCO's evaluation, from dictionaries in memory to precision and recall, against pycocotools and faster-coco-eval.

Ours is all of `CocoEvaluator.from_coco(...).result()`; theirs `loadRes`, `evaluate` and `accumulate`, the index of the
ground truth being there already. (faster-coco-eval, too, has one thread.)
"""

from __future__ import annotations

import contextlib
import io

import numpy as np

from benchmarks.harness import Row, Timer
from benchmarks.ops.rle import blobs
from kseg_ops import rle

try:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
except ImportError:
    COCO = None
try:
    import faster_coco_eval
except ImportError:
    faster_coco_eval = None

IMAGES, INSTANCES, SIZE = 1000, 20, (480, 640)
PEERS = ("pycocotools", "faster-coco-eval")
BARS = dict(zip(PEERS, (10.0, 2.0), strict=True))


def data_set(classes: int) -> tuple[dict, list[dict]]:
    """Ground truth with as many results; each of those is the object's own mask or box, or that of a similar one."""
    random = np.random.default_rng(0)
    pool, polygons = blobs(2000, 3, SIZE)
    # The outlines moved a little: detections that overlap their object by more or less.
    moved = [
        rle.from_polygons([(np.reshape(outline, (-1, 2)) + random.normal(0, 4, 2)).ravel().tolist()], SIZE)
        for outline in polygons
    ]
    corners = [rle.to_boxes(side).astype(np.float64) for side in (pool, moved)]
    boxes = [np.concatenate([side[:, :2], side[:, 2:] - side[:, :2]], axis=1).tolist() for side in corners]
    areas = rle.area(pool).tolist()
    annotations, results = [], []
    for image in range(IMAGES):
        for which in random.choice(len(pool), INSTANCES, replace=False).tolist():
            category = int(random.integers(1, classes + 1))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": category,
                    "segmentation": pool[which],
                    "bbox": boxes[0][which],
                    "area": areas[which],
                    "iscrowd": int(random.random() < 0.02),
                }
            )
            results.append(
                {
                    "image_id": image,
                    "category_id": category if random.random() < 0.9 else int(random.integers(1, classes + 1)),
                    "segmentation": moved[which],
                    "bbox": boxes[1][which],
                    "score": float(random.random()),
                }
            )
    data = {
        "info": {},
        "images": [{"id": image, "height": SIZE[0], "width": SIZE[1]} for image in range(IMAGES)],
        "categories": [{"id": number, "name": str(number)} for number in range(1, classes + 1)],
        "annotations": annotations,
    }
    return data, results


def without(results: list[dict], key: str) -> list[dict]:
    """The results as the type of evaluation has them: of masks with boxes, the peers would take the boxes' areas."""
    return [{name: value for name, value in result.items() if name != key} for result in results]


def peer(index_class, evaluation_class, data: dict, results: list[dict], iou_type: str):
    """A call that evaluates with pycocotools' interface."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = index_class()
        truth.dataset = data
        truth.createIndex()

    def call():
        # loadRes writes into the results, and evaluate into the ground truth, what a second call then finds there.
        with contextlib.redirect_stdout(io.StringIO()):
            found = truth.loadRes([dict(result) for result in results])
            evaluation = evaluation_class(truth, found, iou_type)
            evaluation.evaluate()
            evaluation.accumulate()
        return evaluation

    return call


def measure(timer: Timer, ours_type: str, their_type: str, other: str, classes: int, rounds: int) -> Row:
    """One case against what is installed."""
    from kseg.metrics import CocoEvaluator

    data, results = data_set(classes)
    results = without(results, other)
    peers = {}
    if COCO is not None:
        peers[PEERS[0]] = peer(COCO, COCOeval, data, results, their_type)
    if faster_coco_eval is not None:
        peers[PEERS[1]] = peer(faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster, data, results, their_type)
    return timer.compare(
        f"coco_eval.{ours_type}, {IMAGES} images of {INSTANCES} objects and detections, {classes} classes",
        lambda: CocoEvaluator.from_coco(data, results, ours_type).result(),
        peers,
        bars={key: BARS[key] for key in peers},
        repeats=rounds,
    )


# Ours, theirs, what theirs must not see, classes, rounds: pycocotools takes 10 s and more for 80 classes.
CASES = [("mask", "segm", "bbox", 10, 3), ("mask", "segm", "bbox", 80, 1), ("box", "bbox", "segmentation", 10, 3)]


def run(timer: Timer) -> list[Row]:
    """Times every case; there is nothing to compare with where neither peer is installed."""
    if COCO is None and faster_coco_eval is None:
        return []
    return [measure(timer, *case) for case in CASES]
