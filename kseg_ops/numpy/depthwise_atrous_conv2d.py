"""Depthwise atrous convolution on arrays."""

from __future__ import annotations

import numpy as np

from kseg_ops._atrous import as_rate
from kseg_ops._checks import as_padding
from kseg_ops.numpy._arrays import as_native_order, core


def depthwise_atrous_conv2d(x, filters, rate: int | tuple[int, int] = 1, padding: str = "same") -> np.ndarray:
    """Depthwise dilated convolution on arrays; `kseg_ops.depthwise_atrous_conv2d` states the semantics in full.

    Args:
        x: `[B, H, W, C]`, float32, float16 or ml_dtypes' bfloat16.
        filters: `[kh, kw, C, m]` in the dtype of `x`.
        rate: Pixels from one tap to the next, `(rows, columns)` or one int for both.
        padding: "same" or "valid".

    Returns:
        `[B, h, w, C * m]` in the dtype of `x`.

    Raises:
        RuntimeError: The compiled library cannot be used.
        TypeError: The dtype of `x` is none of the above, or that of `filters` is another one.
        ValueError: A shape or an argument does not fit.

    Example:
        >>> x = np.arange(5, dtype=np.float32).reshape(1, 1, 5, 1)
        >>> depthwise_atrous_conv2d(x, np.ones((1, 3, 1, 1), np.float32), rate=2).ravel()
        array([2., 4., 6., 4., 6.], dtype=float32)
    """
    rate, padding = as_rate(rate), as_padding(padding)
    return core().depthwise_atrous_conv2d(as_native_order(x), as_native_order(filters), rate, padding)
