"""Boxes like those that a detector proposes."""

from __future__ import annotations

import numpy as np


def random_boxes(
    count: int, height: float, width: float, seed: int = 0, least: float = 16, most: float = 512
) -> np.ndarray:
    """Boxes as of region proposals: sides of `least` to `most` pixels evenly on a log scale, aspects 1:2 to 2:1."""
    generator = np.random.default_rng(seed)
    side = np.exp(generator.uniform(np.log(least), np.log(most), count))
    aspect = np.exp(generator.uniform(-np.log(2), np.log(2), count))
    sizes = np.minimum(np.stack([side * np.sqrt(aspect), side / np.sqrt(aspect)], 1), [width, height])
    corners = generator.uniform(0, 1, (count, 2)) * ([width, height] - sizes)
    return np.concatenate([corners, corners + sizes], 1).astype(np.float32)
