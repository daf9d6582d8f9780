"""Keras callbacks for segmentation."""

from __future__ import annotations

from .coco_evaluation import CocoEvaluation
from .prediction_log import PredictionLog

__all__ = ["CocoEvaluation", "PredictionLog"]
