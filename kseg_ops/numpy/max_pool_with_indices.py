"""Max pooling with indices on arrays."""

from __future__ import annotations

import numpy as np

from kseg_ops._checks import as_padding, as_window
from kseg_ops.numpy._arrays import as_native_order, core


def max_pool_with_indices(
    x, pool_size: int | tuple[int, int] = 2, strides: int | tuple[int, int] | None = None, padding: str = "valid"
) -> tuple[np.ndarray, np.ndarray]:
    """Max pooling with the place of each maximum; `kseg_ops.max_pool_with_indices` states the semantics in full.

    Args:
        x: `[B, H, W, C]`, float32, float16, float64 or ml_dtypes' bfloat16.
        pool_size: Height and width of the windows, or one int for both.
        strides: Distance of the windows, or None for `pool_size`.
        padding: "same" or "valid".

    Returns:
        `y`, `[B, h, w, C]` in the dtype of `x`, and `indices`, int32 of that shape: `row * W + column`.

    Raises:
        RuntimeError: The compiled library cannot be used.
        TypeError: The dtype of `x` is none of the above, or a number is not an integer.
        ValueError: A shape or an argument does not fit.

    Example:
        >>> y, indices = max_pool_with_indices(np.array([[1.0, 5.0], [3.0, 4.0]], np.float32).reshape(1, 2, 2, 1))
        >>> float(y.item()), indices.item()
        (5.0, 1)
    """
    pool_size = as_window("pool_size", pool_size)
    strides = pool_size if strides is None else as_window("strides", strides)
    return core().max_pool_with_indices(as_native_order(x), pool_size, strides, as_padding(padding))
