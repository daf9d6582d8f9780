"""Where the labels of objects go, so that they hide neither objects nor each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# What it costs to hide a pixel of a label, as a multiple of that of an object.
_HIDDEN_LABEL = 4


def place_labels(boxes: np.ndarray, sizes: Sequence[tuple[int, int]], canvas: tuple[int, int]) -> list[tuple[int, int]]:
    """Places labels beside their objects: above, below, right, left or in the upper left corner, within the picture.

    One after the other takes the place where it hides the least of labels before it and of all objects; of equal ones
    the first.

    Args:
        boxes: `(N, 4)`, `x1, y1, x2, y2` of the objects, in pixels.
        sizes: Width and height of each label.
        canvas: Height and width of the picture.

    Returns:
        For each label x and y of its upper left corner.
    """
    boxes = np.round(np.asarray(boxes, np.float64).reshape(-1, 4))
    placed = np.zeros((0, 4))
    for (x1, y1, x2, y2), (width, height) in zip(boxes, sizes, strict=True):
        corners = np.array([[x1, y1 - height], [x1, y2], [x2, y1], [x1 - width, y1], [x1, y1]])
        corners = np.clip(corners, 0, np.maximum([canvas[1] - width, canvas[0] - height], 0))
        labels = np.concatenate([corners, corners + [width, height]], axis=1)
        cost = _hidden(labels, boxes) + _HIDDEN_LABEL * _hidden(labels, placed)
        placed = np.concatenate([placed, labels[[np.argmin(cost)]]])
    return [(int(x), int(y)) for x, y in placed[:, :2]]


def _hidden(labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The area of each label that it shares with others."""
    low = np.maximum(labels[:, None, :2], others[None, :, :2])
    high = np.minimum(labels[:, None, 2:], others[None, :, 2:])
    return np.maximum(high - low, 0).prod(axis=2).sum(axis=1)
