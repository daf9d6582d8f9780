"""The figures of an evaluation of detections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kseg.metrics.coco_matching import Curves


@dataclass(frozen=True)
class Protocol:
    """What is evaluated: COCO's own values, unless others are asked for.

    Attributes:
        thresholds: IoU thresholds `(T,)`.
        recalls: Where precision is read off, `(R,)`.
        limits: Most detections per image and class, rising, `(M,)`.
        areas: Name to least and greatest area, "all" first.
    """

    thresholds: np.ndarray
    recalls: np.ndarray
    limits: tuple[int, ...]
    areas: dict[str, tuple[float, float]]

    def figures(self, curves: Curves, classes=slice(None), area: int = 0) -> dict[str, float]:
        """AP and AR over some classes in one area range; those at single thresholds are absent where not evaluated."""
        precision = curves.precision[:, :, classes, area, -1]
        figures = {"AP": _mean(precision)}
        for name, threshold in (("AP50", 0.5), ("AP75", 0.75)):
            at = np.flatnonzero(np.isclose(self.thresholds, threshold, rtol=0, atol=1e-9))
            if at.size:
                figures[name] = _mean(precision[at[0]])
        return figures

    def summary(self, curves: Curves, classes=slice(None)) -> dict[str, float]:
        """COCO's twelve figures over some classes."""
        figures = self.figures(curves, classes)
        sized = list(enumerate(self.areas))[1:]
        figures |= {f"AP_{name}": _mean(curves.precision[:, :, classes, a, -1]) for a, name in sized}
        figures |= {f"AR{limit}": _mean(curves.recall[:, classes, 0, m]) for m, limit in enumerate(self.limits)}
        return figures | {f"AR_{name}": _mean(curves.recall[:, classes, a, -1]) for a, name in sized}


@dataclass(frozen=True)
class CocoReport:
    """What `kseg.metrics.CocoEvaluator.report` gives. A figure without ground truth is -1, as in COCO's evaluation.

    Attributes:
        iou_type: "box", "mask" or "boundary".
        figures: The figures over all classes, by name.
        classes: Per class a dictionary with its `name`, `objects` (crowds not counted), and the same figures.
        sizes: Per area range, "all" first, a dictionary with its `name`, least and greatest area `low` and `high` in
            square pixels, `objects`, `AP`, `AP50`, `AP75` and `AR`.
        iou_thresholds: float64 `(T,)`.
        recalls: float64 `(R,)`.
        precision: float64 `(T, R, C)`, precision at each recall: the precision-recall curves, of all areas.
        scores: float64 `(T, R, C)`, the score at which each recall is reached.
        confusion: int64 `(C + 1, C + 1)`, instances of each class (rows) detected as each class (columns); the last row
            counts detections of nothing, the last column objects that nothing detects.
        confusion_iou: The IoU from which an object counts as detected there.
        confusion_score: The score from which a detection counts there.
    """

    iou_type: str
    figures: dict[str, float]
    classes: list[dict]
    sizes: list[dict]
    iou_thresholds: np.ndarray
    recalls: np.ndarray
    precision: np.ndarray
    scores: np.ndarray
    confusion: np.ndarray
    confusion_iou: float
    confusion_score: float

    def to_dict(self) -> dict:
        """The report as JSON-compatible data; -1 becomes None."""
        return {
            "iou_type": self.iou_type,
            "figures": _without_absent(self.figures),
            "classes": [_without_absent(row) for row in self.classes],
            "sizes": [_without_absent(row) for row in self.sizes],
            "iou_thresholds": self.iou_thresholds.tolist(),
            "recalls": self.recalls.tolist(),
            "precision": self.precision.tolist(),
            "confusion_matrix": self.confusion.tolist(),
            "confusion_iou": self.confusion_iou,
            "confusion_score": self.confusion_score,
        }


def make_report(iou_type, protocol: Protocol, curves: Curves, class_names, confusion, iou, score) -> CocoReport:
    """The report on one way to compare instances."""
    classes = [
        {"name": name, "objects": int(curves.objects[index, 0])} | protocol.summary(curves, slice(index, index + 1))
        for index, name in enumerate(class_names)
    ]
    sizes = [
        {"name": name, "low": float(low), "high": float(high), "objects": int(curves.objects[:, a].sum())}
        | protocol.figures(curves, area=a)
        | {"AR": _mean(curves.recall[:, :, a, -1])}
        for a, (name, (low, high)) in enumerate(protocol.areas.items())
    ]
    return CocoReport(
        iou_type=iou_type,
        figures=protocol.summary(curves),
        classes=classes,
        sizes=sizes,
        iou_thresholds=protocol.thresholds,
        recalls=protocol.recalls,
        precision=curves.precision[:, :, :, 0, -1],
        scores=curves.scores[:, :, :, 0, -1],
        confusion=confusion,
        confusion_iou=float(iou),
        confusion_score=float(score),
    )


def _mean(values: np.ndarray) -> float:
    """Of the classes that have ground truth; -1 for none."""
    present = values[values > -1]
    return float(present.mean()) if present.size else -1.0


def _without_absent(row: dict) -> dict:
    absent = {key for key, value in row.items() if isinstance(value, float) and value == -1}
    # The greatest area of a range may be infinite, for which JSON has no number.
    return {
        key: None if key in absent or (isinstance(value, float) and np.isinf(value)) else value
        for key, value in row.items()
    }
