"""Masks that the cases of run lengths and crops share."""

from __future__ import annotations

import numpy as np

from tests.fuzz.draws import HARD_FLOATS, extent


def mask(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Booleans `[height, width]`: a box, noise, stripes, nothing or everything."""
    kind = rng.integers(6)
    if kind == 0:
        return rng.random((height, width)) < rng.random()
    if kind == 1:
        return np.broadcast_to(np.arange(width) % 2 == 0, (height, width))
    if kind == 2:
        return np.full((height, width), bool(rng.integers(2)))
    result = np.zeros((height, width), bool)
    rows, columns = np.sort(rng.integers(0, height + 1, 2)), np.sort(rng.integers(0, width + 1, 2))
    result[rows[0] : rows[1], columns[0] : columns[1]] = True
    return result


def size(rng: np.random.Generator) -> tuple[int, int]:
    """Height and width of an image: small, seldom long and thin."""
    if rng.random() < 0.03:
        long = int(rng.integers(200, 2000))
        return (long, extent(rng, 3)) if rng.integers(2) else (extent(rng, 3), long)
    return extent(rng, 40), extent(rng, 40)


def runs(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    """COCO's run lengths, int64, of a mask; sometimes with runs of no length."""
    flat = pixels.ravel(order="F")
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(np.concatenate([[0], ends, [flat.size]])).astype(np.int64)
    if flat.size and flat[0]:
        counts = np.concatenate([[0], counts])
    if rng.random() < 0.1:
        at = int(rng.integers(counts.size + 1))
        counts = np.insert(counts, at, [0, 0])
    return counts


def text(counts: np.ndarray) -> np.ndarray:
    """COCO's compressed text of run lengths, as uint8 codes."""
    codes = []
    for i, count in enumerate(counts):
        value = int(count) - (int(counts[i - 2]) if i > 2 else 0)
        more = True
        while more:
            group = value & 31
            value >>= 5
            more = value != -1 if group & 16 else value != 0
            codes.append((group | 32 if more else group) + 48)
    return np.array(codes, np.uint8)


def polygon(rng: np.random.Generator, height: int, width: int, dtype=np.float64) -> np.ndarray:
    """Corners, x and y in turn, around an image; some far away or not finite, some on the grid that COCO rounds to."""
    points = int(rng.choice([0, 1, 2, 3, 4, 5, 12], p=[0.02, 0.03, 0.1, 0.25, 0.3, 0.2, 0.1]))
    corners = rng.uniform(-0.3, 1.3, (points, 2)) * [max(width, 1), max(height, 1)]
    if rng.random() < 0.3:
        corners = np.round(corners * 5) / 5 - 0.1
    corners = corners.ravel()
    if rng.random() < 0.05 and points:
        corners[rng.integers(corners.size)] = rng.choice([*HARD_FLOATS, 2.0**26, -(2.0**26), 2e6, -3e7])
    return corners.astype(dtype)
