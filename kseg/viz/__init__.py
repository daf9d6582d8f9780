"""Pictures of segmentations: palette, overlays, figures and the HTML report. Needs no TensorFlow."""

from __future__ import annotations

from .confusion_figure import confusion_figure
from .curves_figure import curves_figure
from .display_image import display_image
from .instances_overlay import instances_overlay
from .overlay import overlay
from .palette import palette
from .precision_recall_figure import precision_recall_figure
from .report import write_report
from .triptych import triptych

__all__ = [
    "confusion_figure",
    "curves_figure",
    "display_image",
    "instances_overlay",
    "overlay",
    "palette",
    "precision_recall_figure",
    "triptych",
    "write_report",
]
