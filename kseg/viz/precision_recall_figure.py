"""Precision-recall curves of detections as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .palette import palette

_MOST_CLASSES = 20


def precision_recall_figure(
    precision: np.ndarray,
    recalls: np.ndarray,
    iou_thresholds: Sequence[float],
    path: str | Path,
    class_names: Sequence[str] | None = None,
) -> Path:
    """Draws the mean over classes at each IoU threshold, and the classes at the lowest one.

    Args:
        precision: `(T, R, C)`, at each IoU threshold, recall and class; -1 for a class without ground truth.
        recalls: `(R,)`.
        iou_thresholds: `(T,)`.
        path: PNG file to write.
        class_names: A name per class; default the class numbers. Up to 20 classes are drawn.

    Returns:
        `path`.

    Raises:
        ValueError: The shapes do not fit.
    """
    from matplotlib.figure import Figure

    precision = np.asarray(precision)
    if precision.ndim != 3 or precision.shape[:2] != (len(iou_thresholds), len(recalls)):
        raise ValueError(
            f"precision_recall_figure: precision must have shape ({len(iou_thresholds)}, {len(recalls)}, C), as many "
            f"as iou_thresholds and recalls, got {precision.shape}."
        )
    names = [str(index) for index in range(precision.shape[2])] if class_names is None else list(class_names)
    present = [index for index in range(precision.shape[2]) if (precision[..., index] > -1).any()]
    order = np.argsort(iou_thresholds)
    figure = Figure(figsize=(11.2, 3.9), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    if present:
        means = precision[:, :, present].mean(-1)
        shades = np.linspace(0.95, 0.25, len(order))
        for shade, t in zip(shades, order, strict=True):
            label = f"{iou_thresholds[t]:.2f}: {means[t].mean():.3f}"
            panels[0].plot(recalls, means[t], color=(0, 0.45 * shade, 0.85 * shade), alpha=shade, lw=1.5, label=label)
    for index in present[:_MOST_CLASSES]:
        values = precision[order[0], :, index]
        colour = np.array(palette(len(names))[index]) / 255
        panels[1].plot(recalls, values, color=colour, lw=1.5, label=f"{names[index]}: {values.mean():.3f}")
    panels[0].set_title("Mean over classes, by IoU threshold", fontsize=11)
    lowest = f"{iou_thresholds[order[0]]:.2f}" if len(order) else "-"
    panels[1].set_title(f"Classes, at IoU {lowest}", fontsize=11)
    panels[0].set_ylabel("precision")
    for axes in panels:
        axes.set_xlabel("recall")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(
                frameon=False, fontsize=7.5, title="AP", title_fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0)
            )
    figure.savefig(path, dpi=130)
    return Path(path)
