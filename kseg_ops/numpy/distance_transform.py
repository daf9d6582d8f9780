"""The Euclidean distance transform on arrays."""

from __future__ import annotations

import numpy as np

from kseg_ops._checks import as_flag, as_sampling
from kseg_ops.numpy._arrays import as_planes, core


def distance_transform(
    masks, sampling: float | tuple[float, float] = 1.0, signed: bool = False, return_indices: bool = False
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """The distance of foreground pixels to the background; `kseg_ops.distance_transform` states it in full.

    Args:
        masks: bool or integer `[..., H, W]`; whatever is not 0 is foreground.
        sampling: Spacing of pixels, or of rows and of columns.
        signed: Whether background has minus its distance to the foreground, instead of 0.
        return_indices: Whether to tell which pixel is the nearest.

    Returns:
        float32 of the shape of `masks`; with `return_indices` also int32 `[..., H, W, 2]`, row and column.

    Raises:
        RuntimeError: The compiled library cannot be used.
        TypeError: `masks` is floating, or `sampling` is not of numbers.
        ValueError: `masks` has fewer than two axes or is too large, or `sampling` is out of range.

    Example:
        >>> distance_transform(np.array([[0, 1, 1], [0, 1, 1]]), sampling=0.5)
        array([[0. , 0.5, 1. ],
               [0. , 0.5, 1. ]], dtype=float32)
    """
    sampling = as_sampling(sampling)
    signed, return_indices = as_flag("signed", signed), as_flag("return_indices", return_indices)
    planes, shape = as_planes(masks)
    distances, indices = core().distance_transform(planes, sampling, signed, return_indices)
    distances = distances.reshape(shape)
    return (distances, indices.reshape((*shape, 2))) if return_indices else distances
