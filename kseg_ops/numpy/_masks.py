"""Arrays of binary masks made fit for the compiled module."""

from __future__ import annotations

import numpy as np

from kseg_ops._checks import MAX_MAP_SIZE, as_int
from kseg_ops.numpy._arrays import as_boxes, as_native_order


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


def as_mask_boxes(name: str, value, masks: np.ndarray) -> np.ndarray | None:
    """Boxes float32 `[N, 4]` of masks `[N, ...]`; None for none."""
    if value is None:
        return None
    boxes = as_native_order(as_boxes(value))
    # Here, because the compiled module takes boxes [0, 4] for none.
    if boxes.shape != (*masks.shape[:1], 4):
        raise ValueError(f"{name} must have shape [N, 4], one box per mask, {(*masks.shape[:1], 4)}, got {boxes.shape}")
    return boxes
