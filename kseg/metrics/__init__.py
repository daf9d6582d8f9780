"""Metrics that count in int64 and honour void pixels."""

from kseg.metrics.confusion_matrix import ConfusionMatrix
from kseg.metrics.confusion_matrix_metric import ConfusionMatrixMetric
from kseg.metrics.dice_score import DiceScore
from kseg.metrics.mean_iou import MeanIoU
from kseg.metrics.native_steps import native_steps
from kseg.metrics.per_class_iou import PerClassIoU
from kseg.metrics.pixel_accuracy import PixelAccuracy

__all__ = [
    "ConfusionMatrix",
    "ConfusionMatrixMetric",
    "DiceScore",
    "MeanIoU",
    "PerClassIoU",
    "PixelAccuracy",
    "native_steps",
]
