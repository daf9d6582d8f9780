"""Figures of a detector on whole images."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from kseg.inference.detections import Detections
from kseg.metrics import CocoEvaluator, CocoReport
from kseg.models import MaskRCNN


@dataclass
class InstanceEvaluation:
    """COCO's figures of a detector.

    Attributes:
        reports: One `kseg.metrics.CocoReport` per way of comparing objects, the one that counts first.
        images: Per image: name and average precision; NaN for an image without objects.
    """

    reports: list[CocoReport]
    images: list[tuple[str, float]] = field(default_factory=list)

    def to_dict(self) -> dict:
        """The figures as JSON-compatible data."""
        images = [{"name": name, "AP": None if np.isnan(figure) else figure} for name, figure in self.images]
        return {report.iou_type: report.to_dict() for report in self.reports} | {"images": images}


def iou_types(model) -> tuple[str, ...]:
    """What a detector's objects are compared by, what counts first."""
    return ("mask", "box") if isinstance(model, MaskRCNN) else ("box",)


def make_evaluator(model, class_names, types) -> CocoEvaluator:
    """An evaluator of a detector's answers."""
    names = class_names or [f"class {index}" for index in range(model.num_classes)]
    return CocoEvaluator(names, types, **({"paste_mode": model.paste_mode} if isinstance(model, MaskRCNN) else {}))


def find_objects(model, image, sides: tuple[int | None, int | None], score_threshold: float) -> Detections:
    """`kseg.predict_instances` on an image resized to `sides`, the shorter and the longer; `None` for its own size."""
    import kseg

    return kseg.predict_instances(model, image, score_threshold, shorter_side=sides[0], longer_side=sides[1])


def evaluate_instances(model, source, sides: tuple[int | None, int | None]) -> InstanceEvaluation:
    """Evaluates a detector, image by image in their own sizes.

    Args:
        model: A `kseg.MaskRCNN` or `kseg.FasterRCNN`.
        source: `kseg.data.InstanceSource`.
        sides: Shorter and longer side that the detector sees images in; `None`: their own.

    Returns:
        The figures.
    """
    types = iou_types(model)
    whole = make_evaluator(model, source.class_names, types)
    images = []
    for index, (name, image_id) in enumerate(zip(source.names, source.image_ids, strict=True)):
        image, truth = source.load(index)
        found = find_objects(model, image, sides, 0.0)
        targets = {
            "boxes": truth.boxes[None].astype(np.float32),
            "classes": truth.classes[None],
            "masks": truth.masks[None],
            "crowd": truth.crowd[None],
            "sizes": np.array([truth.size], np.int32),
            "image_ids": np.array([image_id], np.int64),
        }
        detections = {name: getattr(found, name)[None] for name in ("boxes", "classes", "scores")}
        if found.crops is not None:
            detections["masks"] = found.crops[None]
        one = make_evaluator(model, source.class_names, types[0])
        for evaluator in (whole, one):
            evaluator.update_state(targets, detections)
        figure = one.result()["AP"]
        images.append((name, float("nan") if figure == -1 else figure))
    return InstanceEvaluation([whole.report(one) for one in types], images)
