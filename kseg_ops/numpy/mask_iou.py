"""mask_iou on arrays."""

from __future__ import annotations

import numpy as np

from kseg_ops.numpy._arrays import core
from kseg_ops.numpy._masks import as_mask_boxes, as_masks, as_width


def mask_iou(a, b, is_crowd=None, width: int | None = None, boxes_a=None, boxes_b=None) -> np.ndarray:
    """The IoU of every mask of one set with every mask of another; `kseg_ops.mask_iou` states it in full.

    Args:
        a: bool or uint8 `[N, H, W]`, or, with `width`, packed: uint8 `[N, H, ceil(width / 8)]`.
        b: `[M, H, W]` or packed, likewise.
        is_crowd: bool or integer `[M]`: where it is not 0, the denominator is the area of the mask of `a`.
        width: W of packed masks; None for a byte per pixel.
        boxes_a: float32 `[N, 4]` (x1 y1 x2 y2): pixels that the box of a mask of `a` does not touch count as background
            and are not read; None: all count.
        boxes_b: `[M, 4]`, those of `b`, likewise.

    Returns:
        float32 `[N, M]`; 0 over 0 is 0.

    Raises:
        RuntimeError: The compiled library cannot be used.
        TypeError: A dtype is not supported.
        ValueError: A shape or the width does not fit.

    Example:
        >>> mask_iou(np.array([[[1, 1, 0]]], np.uint8), np.array([[[0, 1, 0]]], np.uint8))
        array([[0.5]], dtype=float32)
    """
    width = as_width(width)
    a, b = as_masks("a", a, width), as_masks("b", b, width)
    crowd = np.zeros(b.shape[:1], np.uint8) if is_crowd is None else np.asarray(is_crowd)
    if crowd.dtype.kind not in "biu" and crowd.size:
        raise TypeError(f"is_crowd must be bool or integers, got {crowd.dtype}")
    boxes_a, boxes_b = as_mask_boxes("boxes_a", boxes_a, a), as_mask_boxes("boxes_b", boxes_b, b)
    crowd = (crowd != 0).view(np.uint8)
    return core().mask_iou(a, b, crowd, -1 if width is None else width, boxes_a, boxes_b)
