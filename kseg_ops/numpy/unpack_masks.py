"""unpack_masks on arrays."""

from __future__ import annotations

import numpy as np

from kseg_ops._checks import MAX_MAP_SIZE, as_int


def unpack_masks(packed, width: int) -> np.ndarray:
    """The inverse of `pack_masks`; plain NumPy.

    Args:
        packed: uint8 `[..., H, ceil(width / 8)]`; bits beyond the width are ignored.
        width: W, which the packed form does not tell.

    Returns:
        uint8 `[..., H, width]` of 0 and 1.

    Raises:
        TypeError: `packed` is not uint8, or `width` is not an integer.
        ValueError: `packed` has fewer than two axes, or rows of another size.

    Example:
        >>> unpack_masks(np.array([[5, 1]], np.uint8), width=9)
        array([[1, 0, 1, 0, 0, 0, 0, 0, 1]], dtype=uint8)
    """
    width = as_int("width", width, 0, MAX_MAP_SIZE)
    packed = np.asarray(packed)
    if packed.dtype != np.uint8:
        raise TypeError(f"packed must be uint8, got {packed.dtype}")
    if packed.ndim < 2:
        raise ValueError(f"packed must have shape [..., H, ceil(width / 8)], got {packed.shape}")
    if packed.shape[-1] != (width + 7) // 8:
        raise ValueError(f"packed must have ceil(width / 8) = {(width + 7) // 8} bytes per row, got {packed.shape}")
    return np.unpackbits(packed, axis=-1, count=width, bitorder="little")
