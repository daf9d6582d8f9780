"""Arrays of binary masks made fit for the compiled module."""

from __future__ import annotations

import numpy as np

from kseg_ops._checks import MAX_MAP_SIZE, as_int


def as_masks(name: str, value, width: int | None) -> np.ndarray:
    """uint8 of bool or uint8 masks; only uint8 where `width` says that they are packed."""
    masks = np.asarray(value)
    if masks.dtype == np.bool_ and width is None:
        return masks.view(np.uint8)
    if masks.dtype != np.uint8:
        expected = "bool or uint8" if width is None else "uint8 where width is given (packed masks)"
        raise TypeError(f"{name} must be {expected}, got {masks.dtype}")
    return masks


def as_width(value) -> int | None:
    """`width` of packed masks, or None."""
    return None if value is None else as_int("width", value, 0, MAX_MAP_SIZE)
