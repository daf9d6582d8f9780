from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from kseg.viz import precision_recall_figure

RECALLS = np.linspace(0, 1, 101)


def colours_of(path):
    """Distinct colours that are no grey: those of curves."""
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3).astype(int)
    return {tuple(pixel) for pixel in np.unique(pixels, axis=0) if np.ptp(pixel) > 90}


def test_draws_the_classes_that_have_ground_truth(tmp_path):
    precision = np.full((2, 101, 3), -1.0)
    empty = precision_recall_figure(precision, RECALLS, [0.5, 0.75], tmp_path / "empty.png")
    assert empty == tmp_path / "empty.png"
    assert not colours_of(empty)
    precision[:, :50, 1] = 0.8
    precision[:, 50:, 1] = 0
    one = precision_recall_figure(precision, RECALLS, [0.5, 0.75], tmp_path / "one.png", ["a", "b", "c"])
    assert colours_of(one)


def test_shapes_are_checked(tmp_path):
    with pytest.raises(ValueError, match=r"precision must have shape \(2, 101, C\).* got \(1, 101, 3\)"):
        precision_recall_figure(np.zeros((1, 101, 3)), RECALLS, [0.5, 0.75], tmp_path / "x.png")
