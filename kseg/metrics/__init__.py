"""Metrics that honour void pixels; those that count pixels do so in int64."""

from kseg.metrics.average_surface_distance import AverageSurfaceDistance
from kseg.metrics.boundary_iou import BoundaryIoU
from kseg.metrics.calibration_error import CalibrationError
from kseg.metrics.coco_evaluator import CocoEvaluator
from kseg.metrics.coco_report import CocoReport
from kseg.metrics.confusion_matrix import ConfusionMatrix
from kseg.metrics.confusion_matrix_metric import ConfusionMatrixMetric
from kseg.metrics.confusion_matrix_report import ConfusionMatrixReport
from kseg.metrics.dice_score import DiceScore
from kseg.metrics.frequency_weighted_iou import FrequencyWeightedIoU
from kseg.metrics.hausdorff_distance import HausdorffDistance
from kseg.metrics.mean_accuracy import MeanAccuracy
from kseg.metrics.mean_iou import MeanIoU
from kseg.metrics.mean_precision import MeanPrecision
from kseg.metrics.mean_recall import MeanRecall
from kseg.metrics.native_steps import native_steps
from kseg.metrics.per_class_accuracy import PerClassAccuracy
from kseg.metrics.per_class_dice import PerClassDice
from kseg.metrics.per_class_iou import PerClassIoU
from kseg.metrics.per_class_precision import PerClassPrecision
from kseg.metrics.per_class_recall import PerClassRecall
from kseg.metrics.pixel_accuracy import PixelAccuracy

__all__ = [
    "AverageSurfaceDistance",
    "BoundaryIoU",
    "CalibrationError",
    "CocoEvaluator",
    "CocoReport",
    "ConfusionMatrix",
    "ConfusionMatrixMetric",
    "ConfusionMatrixReport",
    "DiceScore",
    "FrequencyWeightedIoU",
    "HausdorffDistance",
    "MeanAccuracy",
    "MeanIoU",
    "MeanPrecision",
    "MeanRecall",
    "PerClassAccuracy",
    "PerClassDice",
    "PerClassIoU",
    "PerClassPrecision",
    "PerClassRecall",
    "PixelAccuracy",
    "native_steps",
]
