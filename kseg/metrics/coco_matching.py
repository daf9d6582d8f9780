"""COCO's evaluation of one way to compare instances, from instances to precision and recall."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kseg.metrics.coco_instances import Instances
from kseg_ops import coco_eval, rle


@dataclass(frozen=True)
class Groups:
    """Instances sorted into groups, of an image and a class each or of an image.

    Attributes:
        truths, detections: Sorted by group; detections of a group by falling score.
        truth_splits, detection_splits: int64 `(G + 1,)`, where each group begins.
        ranks: int64 `(D,)`, each detection's place within its group.
    """

    truths: Instances
    detections: Instances
    truth_splits: np.ndarray
    detection_splits: np.ndarray
    ranks: np.ndarray

    @property
    def splits(self) -> tuple[np.ndarray, np.ndarray]:
        return self.detection_splits, self.truth_splits

    def pairs_with_crowds(self) -> np.ndarray:
        """Bools, for each pair of a detection and a ground truth in its group whether that is a crowd."""
        per_row = np.repeat(np.diff(self.truth_splits), np.diff(self.detection_splits))
        first = np.repeat(self.truth_splits[:-1], np.diff(self.detection_splits))
        begins = np.cumsum(per_row) - per_row
        return self.truths.crowd[np.arange(per_row.sum()) + np.repeat(first - begins, per_row)]


def group(truths: Instances, detections: Instances, keys: Callable, most_detections: int | None = None) -> Groups:
    """Sorts instances into groups by the numbers that `keys` gives them.

    Args:
        truths: Ground truth.
        detections: Detections.
        keys: Maps instances to integers `(N,)`.
        most_detections: So many of each group are kept, those of highest score; None: all. Of equal scores the first
            comes first, as in COCO's evaluation.
    """
    truth_keys, detection_keys = keys(truths), keys(detections)
    truth_order = np.argsort(truth_keys, kind="stable")
    order = np.lexsort((-detections.scores, detection_keys))
    truth_keys, detection_keys = truth_keys[truth_order], detection_keys[order]
    ranks = np.arange(len(order)) - np.searchsorted(detection_keys, detection_keys, side="left")
    if most_detections is not None:
        kept = ranks < most_detections
        order, detection_keys, ranks = order[kept], detection_keys[kept], ranks[kept]
    present = np.union1d(truth_keys, detection_keys)
    truth_splits, detection_splits = (
        np.append(np.searchsorted(of, present, side="left"), len(of)) for of in (truth_keys, detection_keys)
    )
    return Groups(truths.take(truth_order), detections.take(order), truth_splits, detection_splits, ranks)


class BoxComparison:
    """Intersection over union of boxes."""

    needs_masks = False

    def areas(self, detections: Instances) -> np.ndarray:
        """Areas of detections, float64 `(D,)`."""
        return detections.boxes[:, 2] * detections.boxes[:, 3]

    def ious(self, groups: Groups) -> np.ndarray:
        """Of all pairs, group by group."""
        return coco_eval.box_iou(groups.detections.boxes, groups.truths.boxes, *groups.splits, groups.truths.crowd)


class MaskComparison:
    """Intersection over union of masks."""

    needs_masks = True

    def areas(self, detections: Instances) -> np.ndarray:
        """Areas of detections, float64 `(D,)`."""
        return detections.areas

    def ious(self, groups: Groups) -> np.ndarray:
        """Of all pairs, group by group."""
        return coco_eval.mask_iou(groups.detections.rles, groups.truths.rles, *groups.splits, groups.truths.crowd)


class BoundaryComparison(MaskComparison):
    """The lower of the intersections over union of masks and of their boundaries; of masks alone for crowds.

    That is how the authors of Boundary IoU compute boundary AP.
    """

    def __init__(self, dilation_ratio: float):
        self.dilation_ratio = dilation_ratio

    def ious(self, groups: Groups) -> np.ndarray:
        """Of all pairs, group by group."""
        of_masks = super().ious(groups)
        boundaries = [rle.boundary(side.rles, self.dilation_ratio) for side in (groups.detections, groups.truths)]
        of_boundaries = coco_eval.mask_iou(*boundaries, *groups.splits, groups.truths.crowd)
        return np.where(groups.pairs_with_crowds(), of_masks, np.minimum(of_masks, of_boundaries))


@dataclass(frozen=True)
class Curves:
    """What COCO's evaluation accumulates; -1 where a class has no ground truth.

    Attributes:
        precision: float64 `(T, R, C, A, M)`: IoU threshold, recall, class, area range, limit of detections.
        recall: float64 `(T, C, A, M)`.
        scores: float64 `(T, R, C, A, M)`, the score at which each recall is reached.
        objects: int64 `(C, A)`, ground truth that counts.
    """

    precision: np.ndarray
    recall: np.ndarray
    scores: np.ndarray
    objects: np.ndarray


def curves(truths, detections, comparison, num_classes, area_ranges, thresholds, recalls, limits) -> Curves:
    """Runs COCO's evaluation.

    Args:
        truths: Ground truth.
        detections: Detections.
        comparison: How instances are compared.
        num_classes: C.
        area_ranges: `(A, 2)`.
        thresholds: IoU thresholds `(T,)`.
        recalls: `(R,)`.
        limits: Most detections per image and class, `(M,)`, the last one the greatest.
    """
    images = 1 + max((int(side.images.max()) for side in (truths, detections) if len(side)), default=0)
    groups = group(truths, detections, lambda side: side.classes * images + side.images, limits[-1])
    truths, detections = groups.truths, groups.detections
    matches, ignored = coco_eval.match(
        comparison.ious(groups),
        *groups.splits,
        comparison.areas(detections),
        truths.areas,
        truths.crowd,
        area_ranges,
        thresholds,
    )
    low, high = np.asarray(area_ranges, np.float64).T
    areas = truths.areas[:, None]
    counted = ~truths.crowd[:, None] & (areas >= low) & (areas <= high)
    objects = np.zeros((num_classes, len(low)), np.int64)
    np.add.at(objects, truths.classes, counted)
    class_splits = np.searchsorted(detections.classes, np.arange(num_classes + 1), side="left")
    accumulated = coco_eval.accumulate(
        detections.scores, groups.ranks, class_splits, matches, ignored, objects, limits, recalls
    )
    return Curves(*accumulated, objects)


def instance_confusion(truths, detections, comparison, num_classes, iou_threshold, min_score) -> np.ndarray:
    """How often each class is detected as each, counted in instances; int64 `(C + 1, C + 1)`.

    Rows are the truth, columns the detection. Within an image, detections of all classes in order of score take the
    free ground truth of greatest IoU of whatever class. The last row counts detections of nothing, the last column
    objects that nothing detects. Crowds, and detections that only a crowd covers, are left out.
    """
    sure = np.flatnonzero(detections.scores >= min_score)
    groups = group(truths, detections.take(sure), lambda side: side.images)
    truths, detections = groups.truths, groups.detections
    matches, ignored = coco_eval.match(
        comparison.ious(groups),
        *groups.splits,
        np.zeros(len(detections)),
        np.zeros(len(truths)),
        truths.crowd,
        [[0, np.inf]],
        [iou_threshold],
    )
    matches, ignored = matches[0, 0], ignored[0, 0]
    matrix = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    hit = (matches >= 0) & ~ignored
    np.add.at(matrix, (truths.classes[matches[hit]], detections.classes[hit]), 1)
    np.add.at(matrix, (num_classes, detections.classes[matches < 0]), 1)
    missed = ~truths.crowd
    missed[matches[hit]] = False
    np.add.at(matrix, (truths.classes[missed], num_classes), 1)
    return matrix
