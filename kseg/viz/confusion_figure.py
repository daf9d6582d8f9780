"""The confusion matrix as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def confusion_figure(matrix: np.ndarray, path: str | Path, class_names: Sequence[str] | None = None) -> Path:
    """Draws a confusion matrix, each row normalised by the pixels of its true class.

    Args:
        matrix: Counts `(C, C)`; rows are truth, columns prediction.
        path: PNG file to write.
        class_names: A name per class; default the class numbers.

    Returns:
        `path`. A class without true pixels has an empty (white) row. Cells are annotated up to 20 classes.

    Raises:
        ValueError: The matrix is not square.
    """
    from matplotlib.figure import Figure

    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"confusion_figure: matrix must be square, got shape {matrix.shape}.")
    classes = matrix.shape[0]
    names = [str(index) for index in range(classes)] if class_names is None else list(class_names)
    totals = matrix.sum(axis=1, keepdims=True).astype(np.float64)
    shares = np.divide(matrix, totals, out=np.full(matrix.shape, np.nan), where=totals > 0)

    side = min(12.0, 3.2 + 0.42 * classes)
    # A Figure of its own, without pyplot: no global state, no window system, nothing to close.
    figure = Figure(figsize=(side + 0.8, side))
    axes = figure.add_subplot()
    shown = axes.imshow(100.0 * shares, cmap="Blues", vmin=0.0, vmax=100.0)
    bar = figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label("% of the true class", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    axes.set_xlabel("prediction")
    axes.set_ylabel("truth")
    if classes <= 40:
        size = 9 if classes <= 12 else 6
        rotated = classes > 4 or max(map(len, names)) > 10
        axes.set_xticks(range(classes), names, rotation=60 if rotated else 0, ha="right" if rotated else "center")
        axes.set_yticks(range(classes), names)
        axes.tick_params(labelsize=size, length=0)
    if classes <= 20:
        _annotate(axes, shares, size=9 if classes <= 10 else 6)
    figure.savefig(path, dpi=130, bbox_inches="tight", pad_inches=0.1)
    return Path(path)


def _annotate(axes, shares, size):
    for row, column in np.ndindex(shares.shape):
        share = shares[row, column]
        if np.isnan(share):
            continue
        # Small confusions are the interesting ones: keep a digit for them, and let nothing but all be 100.
        text = "0" if share == 0 else "<0.1" if share < 0.001 else f"{100 * share:.1f}"
        text = ">99.9" if share < 1 and text == "100.0" else text
        axes.text(
            column, row, text, ha="center", va="center", fontsize=size, color="white" if share > 0.55 else "#1c2430"
        )
