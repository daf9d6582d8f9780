"""Dilated convolution on arrays."""

from __future__ import annotations

import numpy as np

from kseg_ops._atrous import as_activation, as_rate
from kseg_ops._checks import as_padding
from kseg_ops.numpy._arrays import as_native_order, core


def atrous_conv2d(
    x,
    filters,
    rate: int | tuple[int, int] = 1,
    bias=None,
    scale=None,
    offset=None,
    activation: str | None = None,
    padding: str = "same",
) -> np.ndarray:
    """`activation(convolution(x, filters) * scale + offset)`; `kseg_ops.atrous_conv2d` states the semantics in full.

    Args:
        x: `[B, H, W, C]`, float32, float16 or ml_dtypes' bfloat16.
        filters: `[kh, kw, C, F]` of the same dtype.
        rate: An int, or (rows, columns).
        bias: `[F]`; another word for `offset` where there is no `scale`.
        scale: `[F]` or None; converted to float32.
        offset: `[F]` or None; converted to float32.
        activation: None or a name.
        padding: `"same"` or `"valid"`.

    Returns:
        `[B, H', W', F]` in the dtype of `x`.

    Raises:
        RuntimeError: The compiled library cannot be used.
        TypeError: A dtype is none of the above.
        ValueError: A shape or an argument does not fit.

    Example:
        >>> atrous_conv2d(np.ones((1, 1, 5, 1), np.float32), np.ones((1, 3, 1, 1), np.float32), rate=2).ravel()
        array([2., 2., 3., 2., 2.], dtype=float32)
    """
    if bias is not None:
        if scale is not None or offset is not None:
            raise ValueError("bias must not be given together with scale or offset; with a scale, give offset")
        offset = bias
    return core().atrous_conv2d(
        as_native_order(x),
        as_native_order(filters),
        as_float_vector("scale", scale),
        as_float_vector("offset" if bias is None else "bias", offset),
        as_rate(rate),
        as_activation("activation", activation),
        as_padding(padding),
    )


def as_float_vector(name: str, value) -> np.ndarray:
    """float32; without entries for None, which stands for ones or zeros."""
    if value is None:
        return np.zeros(0, np.float32)
    vector = np.asarray(value)
    if vector.size == 0:
        raise ValueError(f"{name} must have one entry per output channel, got shape {vector.shape}")
    return vector.astype(np.float32, copy=False)
