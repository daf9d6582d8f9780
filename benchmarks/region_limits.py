"""What pooling of boxes must read, whatever the kernel: for the memory limit of its benchmarks."""

from __future__ import annotations

import numpy as np


def pixels_read(boxes: np.ndarray, bins: int, size: tuple[int, int], scale: float, sampling_ratio: int) -> int:
    """How many pixels of a map of `size` some box reads; with adaptive sampling (0), all that lie under it."""
    touched = np.zeros(size, bool)
    for x1, y1, x2, y2 in boxes * scale - 0.5:
        touched[np.ix_(_axis(y1, y2, bins, size[0], sampling_ratio), _axis(x1, x2, bins, size[1], sampling_ratio))] = (
            True
        )
    return int(touched.sum())


def _axis(begin: float, end: float, bins: int, extent: int, sampling_ratio: int) -> np.ndarray:
    """The pixels along an axis that samples fall between."""
    count = bins * (sampling_ratio or max(1, int(np.ceil((end - begin) / bins))))
    low = np.floor(begin + (np.arange(count) + 0.5) * (end - begin) / count).astype(int)
    return np.unique(np.clip(np.concatenate([low, low + 1]), 0, extent - 1))
