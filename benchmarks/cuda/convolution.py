"""Dilated convolution in NumPy, slow and obvious, for bounds on errors where there is no TensorFlow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def output_size(shape, kernel, rate, padding) -> tuple[int, int]:
    """Height and width of the result for x of `shape`."""
    reach = [(taps - 1) * step if padding == "valid" else 0 for taps, step in zip(kernel, rate, strict=True)]
    return shape[1] - reach[0], shape[2] - reach[1]


def convolve(x: np.ndarray, filters: np.ndarray, rate, padding, product: Callable) -> np.ndarray:
    """The sum over taps of `product(pixels [B, h, w, C], filters[ky, kx])`, in float64."""
    height, width = output_size(x.shape, filters.shape[:2], rate, padding)
    pads = [((taps - 1) * step) for taps, step in zip(filters.shape[:2], rate, strict=True)]
    sides = [(pad // 2, pad - pad // 2) if padding == "same" else (0, 0) for pad in pads]
    padded = np.pad(np.asarray(x, np.float64), [(0, 0), *sides, (0, 0)])
    return sum(
        product(padded[:, ky * rate[0] :][:, :height, kx * rate[1] :][:, :, :width], np.asarray(tap, np.float64))
        for ky, row in enumerate(filters)
        for kx, tap in enumerate(row)
    )


def depthwise(pixels: np.ndarray, tap: np.ndarray) -> np.ndarray:
    """A product for `convolve`: filters [kh, kw, C, m]."""
    return (pixels[..., None] * tap).reshape(*pixels.shape[:3], -1)
