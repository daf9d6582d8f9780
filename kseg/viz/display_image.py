"""Any sensor image as an 8-bit RGB picture."""

from __future__ import annotations

import numpy as np


def display_image(image: np.ndarray) -> np.ndarray:
    """Turns an image of any depth and channel count into 8-bit RGB for looking at.

    Args:
        image: `(H, W)` or `(H, W, C)`, any real dtype. uint8 is shown as it is; other dtypes are stretched so that the
            0.5 and 99.5 percentiles of the finite values become black and white. One channel is shown grey, two as red
            and green, more than three by their first three.

    Returns:
        uint8 array `(H, W, 3)`. Pixels that are not finite are black.

    Raises:
        ValueError: The array has another rank.

    Example:
        >>> display_image(np.zeros((4, 5), np.uint16)).shape
        (4, 5, 3)
    """
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[-1] == 0:
        raise ValueError(f"display_image: image must be (H, W) or (H, W, C) with C >= 1, got shape {image.shape}.")
    if image.dtype != np.uint8:
        image = _stretch(image)
    channels = image.shape[-1]
    if channels == 1:
        return np.repeat(image, 3, axis=-1)
    if channels == 2:
        return np.concatenate([image, np.zeros_like(image[..., :1])], axis=-1)
    return np.ascontiguousarray(image[..., :3])


def _stretch(image: np.ndarray) -> np.ndarray:
    values = image.astype(np.float32)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(image.shape, np.uint8)
    low, high = np.percentile(values[finite], (0.5, 99.5))
    if high <= low:
        # A flat image, or one whose few bright pixels lie outside the percentiles.
        low, high = float(values[finite].min()), float(values[finite].max())
    if high <= low:
        return np.where(finite, np.uint8(127), np.uint8(0))
    scaled = np.clip((np.where(finite, values, low) - low) / (high - low), 0.0, 1.0)
    return np.where(finite, np.round(scaled * 255.0), 0.0).astype(np.uint8)
