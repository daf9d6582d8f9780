"""Connected components, and the masks that the distance transform is attacked with too."""

from __future__ import annotations

import numpy as np

from tests.fuzz.draws import Case, Draw, shape

_TYPES = (np.bool_, np.uint8, np.int8)


def _size(rng: np.random.Generator) -> tuple[int, int, int]:
    kind = rng.random()
    if kind < 0.01:  # more than one stripe: many rows, or rows that are a stripe each
        return [(1, 450, 300), (1, 3, 70000), (2, 70000, 2)][rng.integers(3)]
    if kind < 0.15:
        return (int(rng.integers(1, 3)), int(rng.integers(1, 10)), int(rng.choice([63, 64, 65, 127, 128, 129, 200])))
    return shape(rng, 3, 30, 80)


def _pattern(rng: np.random.Generator, size: tuple[int, int, int]) -> np.ndarray:
    rows, columns = np.indices(size[1:], sparse=True)
    kind = rng.integers(7)
    if kind == 0:
        return rng.random(size) < rng.choice([0.0, 0.01, 0.5, 0.6, 0.99, 1.0])
    if kind == 1:
        return np.broadcast_to((rows + columns) % 2 == rng.integers(2), size)
    if kind == 2:  # a comb, whose teeth meet in the last or the first row
        return np.broadcast_to((columns % 2 == 0) | (rows == rng.choice([0, size[1] - 1])), size)
    if kind == 3:
        return np.broadcast_to((rows - columns * int(rng.integers(-2, 3))) % 3 == 0, size)
    if kind == 4:  # nested frames, open in places
        depth = np.minimum(np.minimum(rows, size[1] - 1 - rows), np.minimum(columns, size[2] - 1 - columns))
        return (depth % 2 == 0) & (rng.random(size) < 0.97)
    blobs = rng.random((size[0], size[1] // 4 + 1, size[2] // 4 + 1)) < 0.5
    return np.kron(blobs, np.ones((1, 4, 4), bool))[:, : size[1], : size[2]]


def draw_masks(rng: np.random.Generator) -> np.ndarray:
    """Masks [N, H, W] of any type that the ops take, with all of their values as foreground."""
    size = _size(rng)
    dtype = _TYPES[rng.integers(3)]
    if 0 in size:
        return np.zeros(size, dtype)
    pattern = np.ascontiguousarray(_pattern(rng, size))
    if dtype == np.bool_ or rng.random() < 0.3:
        return pattern.astype(dtype)
    return (pattern * rng.integers(1, 256, size)).astype(np.uint8).view(dtype)


def numpy_masks(masks: np.ndarray) -> np.ndarray:
    """The masks as the NumPy module takes them; what has been spoilt stays spoilt."""
    return masks.view(np.uint8) if masks.dtype in (np.bool_, np.int8) else masks


def _draw(rng: np.random.Generator) -> Draw:
    return Draw({"masks": draw_masks(rng)}, {"connectivity": int(rng.choice([4, 8]))})


def _numpy(draw: Draw) -> dict:
    return {"masks": numpy_masks(draw.arrays["masks"]), **draw.attributes}


CASES = [Case("connected_components", _draw, numpy=_numpy)]
