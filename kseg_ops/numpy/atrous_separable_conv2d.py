"""Atrous separable convolution on arrays."""

from __future__ import annotations

import numpy as np

from kseg_ops._atrous import as_activation, as_rate
from kseg_ops._checks import as_padding
from kseg_ops.numpy._arrays import as_native_order, core


def atrous_separable_conv2d(
    x,
    depthwise,
    pointwise,
    rate: int | tuple[int, int] = 1,
    depthwise_scale=None,
    depthwise_offset=None,
    depthwise_activation: str | None = None,
    bias=None,
    scale=None,
    offset=None,
    activation: str | None = None,
    padding: str = "same",
) -> np.ndarray:
    """Atrous separable convolution on arrays; `kseg_ops.atrous_separable_conv2d` states the semantics in full.

    Args:
        x: `[B, H, W, C]`, float32, float16 or ml_dtypes' bfloat16.
        depthwise: `[kh, kw, C, m]` in the dtype of `x`.
        pointwise: `[1, 1, C * m, F]` in the dtype of `x`.
        rate: Pixels from one tap to the next, `(rows, columns)` or one int for both.
        depthwise_scale: `[C * m]`, converted to float32, or None.
        depthwise_offset: `[C * m]`, likewise.
        depthwise_activation: None or "linear", "relu", "relu6", "hard_sigmoid", "hard_silu".
        bias: `[F]`, in place of `offset` where there is no `scale`.
        scale: `[F]`, converted to float32, or None.
        offset: `[F]`, likewise.
        activation: Like `depthwise_activation`.
        padding: "same" or "valid".

    Returns:
        `[B, h, w, F]` in the dtype of `x`.

    Raises:
        RuntimeError: The compiled library cannot be used.
        TypeError: The dtype of `x` is none of the above, or that of filters is another one.
        ValueError: A shape or an argument does not fit.

    Example:
        >>> x = np.arange(5, dtype=np.float32).reshape(1, 1, 5, 1)
        >>> ones = np.ones((1, 3, 1, 1), np.float32)
        >>> atrous_separable_conv2d(x, ones, 2 * ones[:, :1], rate=2, bias=[-8], activation="relu").ravel()
        array([0., 0., 4., 0., 4.], dtype=float32)
    """
    if bias is not None:
        if scale is not None or offset is not None:
            raise ValueError("bias stands alone: beside scale or offset, give what is added as offset")
        offset = bias
    x, depthwise, pointwise = (as_native_order(array) for array in (x, depthwise, pointwise))
    channels = {"depthwise_scale": depthwise_scale, "depthwise_offset": depthwise_offset}
    vectors = [_as_vector(name, value) for name, value in {**channels, "scale": scale, "offset": offset}.items()]
    return core().atrous_separable_conv2d(
        x,
        depthwise,
        pointwise,
        *vectors,
        as_rate(rate),
        as_padding(padding),
        as_activation("depthwise_activation", depthwise_activation),
        as_activation("activation", activation),
    )


def _as_vector(name: str, value) -> np.ndarray:
    if value is None:
        return np.zeros(0, np.float32)
    vector = np.asarray(value)
    if vector.ndim != 1 or vector.size == 0:
        raise ValueError(f"{name} must have one entry per channel, got shape {vector.shape}")
    return vector.astype(np.float32)
