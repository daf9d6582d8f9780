"""Keras callbacks for segmentation."""

from __future__ import annotations

from .prediction_log import PredictionLog

__all__ = ["PredictionLog"]
