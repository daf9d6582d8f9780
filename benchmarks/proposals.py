"""Boxes for the benchmarks of suppression."""

from __future__ import annotations

import numpy as np


def proposal_boxes(count: int, seed: int = 0) -> np.ndarray:
    """Boxes as of region proposals on 800 x 1216: sides of 16 to 512, most of them in clusters around 150 objects."""
    generator = np.random.default_rng(seed)
    objects = np.concatenate([generator.uniform(0, 1, (150, 2)) * [1216, 800], generator.uniform(3, 6, (150, 2))], 1)
    which = generator.integers(0, 150, count)
    jitter = generator.normal(size=(count, 4)) * [6, 6, 0.15, 0.15]
    centre, size = (objects[which] + jitter)[:, :2], np.exp((objects[which] + jitter)[:, 2:])
    return np.concatenate([centre - size / 2, centre + size / 2], 1).astype(np.float32)
