"""Max unpooling on arrays."""

from __future__ import annotations

import numpy as np

from kseg_ops._checks import as_place_array, as_unpooled_size
from kseg_ops.numpy._arrays import as_native_order, core


def max_unpool2d(y, indices, output_size: tuple[int, int]) -> np.ndarray:
    """Pooled values back at their places; `kseg_ops.max_unpool2d` states the semantics in full.

    Args:
        y: `[B, h, w, C]`, float32, float16, float64 or ml_dtypes' bfloat16.
        indices: Integers of the shape of `y`: `row * W + column`.
        output_size: Height and width `(H, W)` of the result.

    Returns:
        `[B, H, W, C]` in the dtype of `y`, 0 where no index points; the last in raster order counts.

    Raises:
        RuntimeError: The compiled library cannot be used.
        TypeError: A dtype does not fit.
        ValueError: A shape or size does not fit, or an index is out of range.

    Example:
        >>> max_unpool2d(np.full((1, 1, 1, 1), 5.0, np.float32), np.full((1, 1, 1, 1), 1), (2, 2))[0, :, :, 0]
        array([[0., 5.],
               [0., 0.]], dtype=float32)
    """
    return core().max_unpool2d(as_native_order(y), as_place_array(indices), as_unpooled_size(output_size))
