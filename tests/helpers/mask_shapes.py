"""Binary images on which labelling and distances go wrong first."""

from __future__ import annotations

import numpy as np
import scipy.ndimage


def blobs(height: int, width: int, sigma: float = 3.0, seed: int = 0) -> np.ndarray:
    """Thresholded smooth noise: what a segmentation looks like."""
    noise = np.random.default_rng(seed).standard_normal((height, width))
    return scipy.ndimage.gaussian_filter(noise, sigma) > 0


def noise(height: int, width: int, share: float, seed: int = 0) -> np.ndarray:
    """Each pixel on its own."""
    return np.random.default_rng(seed).random((height, width)) < share


def spiral(size: int) -> np.ndarray:
    """One line from the top left corner to the middle, with a gap of one pixel between its turns."""
    mask = np.zeros((size, size), bool)
    y, x, dy, dx = 0, -1, 0, 1
    length = size
    turns = 0
    while length > 0:
        for _ in range(length):
            y, x = y + dy, x + dx
            mask[y, x] = True
        dy, dx = dx, -dy
        turns += 1
        if turns == 1:
            length -= 1
        elif turns % 2:
            length -= 2
    return mask


def comb(height: int, width: int, joined_at: int) -> np.ndarray:
    """Columns of foreground, joined in one row: at the last row, all meet only when everything has been seen."""
    mask = np.zeros((height, width), bool)
    mask[:, ::2] = True
    mask[joined_at] = True
    return mask


def named_shapes() -> dict[str, np.ndarray]:
    """All kinds, small; sizes around the vector and word sizes of the kernels."""
    checkers = np.indices((33, 65)).sum(0) % 2 == 0
    stairs = np.abs(np.subtract.outer(np.arange(70), np.arange(70))) == 3
    shapes = {
        "one pixel set": np.ones((1, 1), bool),
        "one pixel clear": np.zeros((1, 1), bool),
        "all set": np.ones((9, 70), bool),
        "all clear": np.zeros((9, 70), bool),
        "row": noise(1, 131, 0.5),
        "column": noise(131, 1, 0.5),
        "checkers": checkers,
        "other checkers": ~checkers,
        "diagonals": stairs,
        "spiral": spiral(67),
        "between the spiral": ~spiral(67),
        "comb below": comb(40, 129, -1),
        "comb above": comb(40, 129, 0),
        "comb amid": comb(40, 129, 20),
        "blobs": blobs(90, 77),
        "one hole": np.ones((70, 83), bool),
        "one dot": np.zeros((70, 83), bool),
        "border": np.pad(np.zeros((30, 62), bool), 1, constant_values=True),
    }
    shapes["one hole"][31, 40] = False
    shapes["one dot"][31, 40] = True
    for width in (15, 16, 17, 31, 63, 64, 65, 127, 128, 130):
        shapes[f"noise {width}"] = noise(23, width, 0.55, width)
        shapes[f"full to the edge {width}"] = noise(5, width, 0.9, width)
    for share in (0.02, 0.3, 0.7, 0.98):
        shapes[f"noise of {share}"] = noise(61, 59, share)
    return shapes
