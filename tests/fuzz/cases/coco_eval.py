"""COCO's evaluation in the NumPy module."""

from __future__ import annotations

import numpy as np

from tests.fuzz.draws import HARD_FLOATS, Case, Draw, same_names


def _splits(rng: np.random.Generator, groups: int, most: int = 5) -> np.ndarray:
    return np.cumsum([0, *rng.integers(0, most + 1, groups)]).astype(np.int64)


def _hardened(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    """Some values replaced by hard ones, in one of ten arrays."""
    if rng.random() < 0.1:
        return np.where(rng.random(values.shape) < 0.3, rng.choice(HARD_FLOATS, values.shape), values)
    return values


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    boxes = rng.uniform(0, 20, (count, 4))
    return _hardened(rng, boxes.round() if rng.integers(2) else boxes)


def _groups(rng: np.random.Generator) -> dict[str, np.ndarray]:
    groups = int(rng.integers(1, 80) if rng.random() < 0.1 else rng.integers(1, 6))
    splits = {"detection_splits": _splits(rng, groups), "truth_splits": _splits(rng, groups)}
    for name in splits:
        if splits[name][-1] == 0:  # something to do
            splits[name][-1] = 1
    return splits


def _crowd(rng: np.random.Generator, count: int) -> np.ndarray:
    return (rng.random(count) < 0.3).astype(np.uint8)


def _box_iou(rng: np.random.Generator) -> Draw:
    splits = _groups(rng)
    detections, truths = (int(splits[name][-1]) for name in ("detection_splits", "truth_splits"))
    boxes = {"detections": _boxes(rng, detections), "truths": _boxes(rng, truths)}
    return Draw({**boxes, **splits, "is_crowd": _crowd(rng, truths)})


def _match(rng: np.random.Generator) -> Draw:
    splits = _groups(rng)
    detections, truths = (int(splits[name][-1]) for name in ("detection_splits", "truth_splits"))
    pairs = int((np.diff(splits["detection_splits"]) * np.diff(splits["truth_splits"])).sum())
    ranges, thresholds = (int(rng.integers(1, 5)) for _ in range(2))
    return Draw(
        {
            "ious": _hardened(rng, rng.choice([rng.random(pairs), rng.integers(0, 5, pairs) / 4])),
            **splits,
            "detection_areas": _hardened(rng, rng.uniform(0, 100, detections)),
            "truth_areas": _hardened(rng, rng.uniform(0, 100, truths)),
            "is_crowd": _crowd(rng, truths),
            "area_ranges": _hardened(rng, np.sort(rng.uniform(0, 100, (ranges, 2)), axis=1)),
            "thresholds": _hardened(rng, rng.choice([0.25, 0.5, 0.75, 1.0], thresholds)),
        },
        absent=("ious",),
    )


def _accumulate(rng: np.random.Generator) -> Draw:
    classes, areas, thresholds, limits = (int(rng.integers(1, 4)) for _ in range(4))
    class_splits = _splits(rng, classes, 30)
    class_splits[-1] = max(1, class_splits[-1])
    count = int(class_splits[-1])
    shape = (areas, thresholds, count)
    scores = np.where(rng.random(count) < 0.5, rng.integers(0, 3, count) / 2, rng.random(count))
    return Draw(
        {
            "scores": _hardened(rng, scores),
            "ranks": rng.integers(0, 12, count),
            "class_splits": class_splits,
            "matches": rng.integers(-1, 3, shape).astype(np.int32),
            "ignored": (rng.random(shape) < 0.3).astype(np.uint8),
            "positives": rng.integers(0, 20, (classes, areas)),
            "most_detections": np.sort(rng.integers(1, 15, limits)),
            "recalls": np.linspace(0, 1, int(rng.integers(1, 102))),
        }
    )


CASES = [
    Case("coco_eval_box_iou", _box_iou, tensorflow=False, numpy=same_names),
    Case("coco_eval_match", _match, tensorflow=False, numpy=same_names),
    Case("coco_eval_accumulate", _accumulate, tensorflow=False, numpy=same_names),
]
