"""resize_argmax on arrays."""

from __future__ import annotations

import numpy as np

from kseg_ops._checks import as_flag, as_map_size
from kseg_ops.numpy._arrays import as_native_order, core


def resize_argmax(logits, size: tuple[int, int], align_corners: bool = False) -> np.ndarray:
    """The argmax over classes of bilinearly resized logits; `kseg_ops.resize_argmax` states the semantics in full.

    Args:
        logits: `[B, h, w, C]`, float32, float16, float64 or ml_dtypes' bfloat16.
        size: The new height and width `(H, W)`.
        align_corners: False for half-pixel centres, True for corner pixels that keep their centres.

    Returns:
        int32 `[B, H, W]`; of equal values the lowest class wins.

    Raises:
        RuntimeError: The compiled library cannot be used.
        TypeError: The dtype of `logits` is none of the above, or `size` is not of integers.
        ValueError: A shape or size does not fit.

    Example:
        >>> resize_argmax(np.array([[[[1.0, 0.0], [0.0, 1.0]]]], np.float32), (1, 4))
        array([[[0, 0, 1, 1]]], dtype=int32)
    """
    return core().resize_argmax(as_native_order(logits), as_map_size(size), as_flag("align_corners", align_corners))
