"""Figures of an evaluation that do not follow from its confusion matrix."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from .evaluation import ExtraFigure


class ExtraMetric:
    """A Keras metric that is fed image by image.

    Args:
        metric: a metric of `kseg.metrics`; one with results per class gives them too (`per_class=True`, numbered).
        title: its name in tables.
        num_classes: classes counted, two in the sigmoid case.
        needs_logits: whether it takes logits, not classes.
        feed: takes labels and classes (or logits) of a batch in, in place of the metric's own `update_state`.
    """

    def __init__(self, metric, title: str, num_classes: int, needs_logits: bool = False, feed: Callable | None = None):
        self.metric = metric
        self.title = title
        self.num_classes = num_classes
        self.needs_logits = needs_logits
        self.feed = metric.update_state if feed is None else feed

    def update(self, mask: np.ndarray, prediction: np.ndarray, scores: np.ndarray) -> None:
        """Takes in an image.

        Args:
            mask: classes `(H, W)`.
            prediction: classes `(H, W)`.
            scores: logits `(H, W, C)` if it needs them.

        Raises:
            ValueError: it needs logits and got classes.
        """
        if self.needs_logits and scores.ndim != 3:
            raise ValueError(f"{self.metric.name} needs logits (H, W, C); the prediction has the shape {scores.shape}.")
        self.feed(mask[None], (scores if self.needs_logits else prediction)[None])

    def figure(self) -> ExtraFigure:
        """What it comes to."""
        result = self.metric.result()
        key = self.metric.name
        if not isinstance(result, dict):
            return ExtraFigure(key, self.title, float(result))
        classes = [float(result.get(f"{key}_{index}", np.nan)) for index in range(self.num_classes)]
        return ExtraFigure(key, self.title, float(result[key]), np.array(classes))


def extra_metrics(num_classes, ignore_index, *, boundary=False, surface=False, spacing=1.0, calibration=False) -> list:
    """The further figures of `kseg evaluate`.

    Args:
        num_classes: classes of the model; of 1 (sigmoid) the foreground is measured.
        ignore_index: mask value that is not counted.
        boundary: boundary IoU.
        surface: 95th percentile of the Hausdorff distance, and average symmetric surface distance.
        spacing: distance of rows and of columns, for `surface`.
        calibration: expected calibration error.
    """
    from kseg import metrics

    counted = max(num_classes, 2)
    found = []
    if boundary:
        found.append(
            ExtraMetric(metrics.BoundaryIoU(num_classes, ignore_index, per_class=True), "boundary IoU", counted)
        )
    if surface:
        arguments = {"spacing": spacing, "per_class": True}
        hausdorff = metrics.HausdorffDistance(num_classes, ignore_index, name="hd95", **arguments)
        average = metrics.AverageSurfaceDistance(num_classes, ignore_index, **arguments)
        # The distances between contours, which take the time, are the same for both.
        both = ExtraMetric(hausdorff, "HD95", counted, feed=functools.partial(hausdorff.update_together, [average]))
        found += [both, ExtraMetric(average, "surface distance", counted, feed=lambda labels, classes: None)]
    if calibration:
        error = metrics.CalibrationError(num_classes, ignore_index)
        found.append(ExtraMetric(error, "calibration error", counted, needs_logits=True))
    return found
