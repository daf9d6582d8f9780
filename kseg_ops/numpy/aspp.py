"""Atrous spatial pyramid pooling on arrays."""

from __future__ import annotations

import numpy as np

from kseg_ops._atrous import as_activation, as_rate
from kseg_ops.aspp_branch import AsppBranch
from kseg_ops.numpy._arrays import as_native_order, core


def aspp(x, branches: list[AsppBranch], projection: AsppBranch, pooling: AsppBranch | None = None) -> np.ndarray:
    """Atrous spatial pyramid pooling in one pass; `kseg_ops.aspp` states the semantics in full.

    Args:
        x: `[B, H, W, C]`, float32, float16 or ml_dtypes' bfloat16.
        branches: `kseg_ops.AsppBranch` of arrays, filters of the dtype of `x`.
        projection: Likewise; filters `[1, 1, D, F]`.
        pooling: Likewise, or None.

    Returns:
        `[B, H, W, F]` in the dtype of `x`.

    Raises:
        RuntimeError: The compiled library cannot be used.
        TypeError: A dtype is none of the above.
        ValueError: A shape or an argument does not fit.

    Example:
        >>> double = AsppBranch(np.full((1, 1, 1, 1), 2, np.float32))
        >>> aspp(np.ones((1, 1, 2, 1), np.float32), [double], double).ravel()
        array([4., 4.], dtype=float32)
    """
    return core().aspp(
        as_native_order(x),
        [_as_tuple(branch) for branch in branches],
        _as_tuple(projection),
        None if pooling is None else _as_tuple(pooling),
    )


def _as_tuple(branch: AsppBranch) -> tuple:
    branch = AsppBranch(*branch)
    filters = as_native_order(branch.filters)
    depthwise = None
    if branch.depthwise is not None:
        kernel = as_native_order(branch.depthwise)
        depthwise = (
            kernel,
            _vector(branch.depthwise_scale, kernel, 2, 1),
            _vector(branch.depthwise_offset, kernel, 2, 0),
            as_activation("depthwise_activation", branch.depthwise_activation),
        )
    return (
        filters,
        _vector(branch.scale, filters, 3, 1),
        _vector(branch.offset, filters, 3, 0),
        as_activation("activation", branch.activation),
        as_rate(branch.rate),
        depthwise,
    )


def _vector(value, filters: np.ndarray, axis: int, fill: float) -> np.ndarray:
    if value is not None:
        return np.asarray(value).astype(np.float32, copy=False)
    return np.full(filters.shape[axis] if axis < filters.ndim else 0, fill, np.float32)
