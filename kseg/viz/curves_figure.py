"""Training curves as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


def curves_figure(
    history: Sequence[Mapping[str, float]], path: str | Path, monitor: str = "mean_iou", best_epoch: int | None = None
) -> Path:
    """Draws loss and the monitored metric over the epochs, training and validation.

    Args:
        history: One mapping per epoch with `epoch` (from 1), `loss`, `<monitor>`, and their `val_` forms where there is
            validation. Missing keys are left out.
        path: PNG file to write.
        monitor: The metric of the second panel.
        best_epoch: Epoch (from 1) of the best checkpoint, marked in the second panel.

    Returns:
        `path`.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9.6, 3.5), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, key, title in ((panels[0], "loss", "Loss"), (panels[1], monitor, _title(monitor))):
        for name, label, colour in ((key, "training", "#0096dc"), (f"val_{key}", "validation", "#e67800")):
            points = [(row["epoch"], row[name]) for row in history if name in row]
            if points:
                marker = "o" if len(points) <= 30 else None
                axes.plot(*zip(*points, strict=True), color=colour, label=label, marker=marker, markersize=3, lw=1.7)
        axes.set_title(title, fontsize=11)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    if best_epoch is not None:
        panels[1].axvline(best_epoch, color="#5a626e", lw=1, ls="--", label=f"best (epoch {best_epoch})")
    for axes in panels:
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=130)
    return Path(path)


def _title(monitor: str) -> str:
    return {"mean_iou": "Mean IoU", "pixel_accuracy": "Pixel accuracy"}.get(monitor, monitor.replace("_", " "))
