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


def pixels_summed(boxes: np.ndarray, bins: int, size: tuple[int, int], scale: float, sampling_ratio: int) -> int:
    """How many pixels the bins of all boxes average, one that lies under several counted for each."""
    return sum(
        _summed(y1, y2, bins, size[0], sampling_ratio) * _summed(x1, x2, bins, size[1], sampling_ratio)
        for x1, y1, x2, y2 in boxes * scale - 0.5
    )


def _summed(begin: float, end: float, bins: int, extent: int, sampling_ratio: int) -> int:
    """The same along one axis of one box: samples of a bin weigh each pixel once."""
    corners = np.linspace(begin, end, bins + 1)
    ratio = sampling_ratio or max(1, int(np.ceil((end - begin) / bins)))
    return sum(_axis(corners[bin], corners[bin + 1], 1, extent, ratio).size for bin in range(bins))


def _axis(begin: float, end: float, bins: int, extent: int, sampling_ratio: int) -> np.ndarray:
    """The pixels along an axis that samples fall between."""
    count = bins * (sampling_ratio or max(1, int(np.ceil((end - begin) / bins))))
    low = np.floor(begin + (np.arange(count) + 0.5) * (end - begin) / count).astype(int)
    return np.unique(np.clip(np.concatenate([low, low + 1]), 0, extent - 1))
