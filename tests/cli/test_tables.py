"""Tables at the width of a terminal: nothing is cut."""

from __future__ import annotations

import io
import types

import numpy as np
import pytest

pytest.importorskip("rich", reason="the tables are rich's")

from kseg_cli.tables import class_table
from rich.console import Console

from kseg.training.evaluation import ExtraFigure


def evaluation(titles):
    values = np.array([0.25, 0.5])
    figures = ("iou", "dice", "precision", "recall")
    return types.SimpleNamespace(
        **dict.fromkeys(figures, values),
        **{f"mean_{name}": 0.375 for name in figures},
        confusion=np.full((2, 2), 12345678),
        class_names=["background", "foreground things"],
        pixel_accuracy=0.9,
        frequency_weighted_iou=0.8,
        extras=[ExtraFigure(title, title, 0.375, values) for title in titles],
    )


@pytest.mark.parametrize("titles", [[], ["boundary IoU"], ["boundary IoU", "HD95", "surface distance"]])
def test_heads_and_figures_are_whole_at_80_columns(titles):
    console = Console(file=io.StringIO(), width=80)
    console.print(class_table(evaluation(titles)))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    words = {word for title in ("class", "IoU", "precision", "true pixels", *titles) for word in title.split()}
    assert words <= {word for line in lines[:2] for word in line.split()}
    last = next(line for line in lines if line.startswith("mean"))
    assert last.split() == ["mean", *["0.3750"] * (4 + len(titles)), "49,382,712"]
