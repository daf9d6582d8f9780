"""pack_masks on arrays."""

from __future__ import annotations

import numpy as np


def pack_masks(masks) -> np.ndarray:
    """Packs masks to one bit per pixel; `kseg_ops.pack_masks` states the format. Plain NumPy.

    Args:
        masks: bool or integer `[..., H, W]`; anything but 0 is set.

    Returns:
        uint8 `[..., H, ceil(W / 8)]`.

    Raises:
        TypeError: `masks` is neither bool nor integer.
        ValueError: `masks` has fewer than two axes.

    Example:
        >>> pack_masks(np.array([[1, 0, 1, 0, 0, 0, 0, 0, 1]]))
        array([[5, 1]], dtype=uint8)
    """
    masks = np.asarray(masks)
    if masks.dtype.kind not in "biu":
        raise TypeError(f"masks must be bool or integers, got {masks.dtype}; compare probabilities with a threshold")
    if masks.ndim < 2:
        raise ValueError(f"masks must have shape [..., H, W], got {masks.shape}")
    return np.packbits(masks != 0, axis=-1, bitorder="little")
