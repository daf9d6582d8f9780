"""Connected components on arrays."""

from __future__ import annotations

import numpy as np

from kseg_ops._checks import as_connectivity
from kseg_ops.numpy._arrays import as_planes, core


def connected_components(masks, connectivity: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Numbers the connected components of the foreground; `kseg_ops.connected_components` states it in full.

    Args:
        masks: bool or integer `[..., H, W]`; whatever is not 0 is foreground.
        connectivity: 8: pixels touch at sides and corners; 4: at sides only.

    Returns:
        int32 labels of the shape of `masks`, in raster order of each component's first pixel, and int32 counts of that
        shape without its last two axes.

    Raises:
        RuntimeError: The compiled library cannot be used.
        TypeError: `masks` is floating, or `connectivity` is not an integer.
        ValueError: `masks` has fewer than two axes or too many pixels, or `connectivity` is neither 4 nor 8.

    Example:
        >>> labels, count = connected_components(np.array([[1, 0, 1], [0, 0, 1]]))
        >>> labels
        array([[1, 0, 2],
               [0, 0, 2]], dtype=int32)
        >>> int(count)
        2
    """
    connectivity = as_connectivity(connectivity)
    planes, shape = as_planes(masks)
    labels, counts = core().connected_components(planes, connectivity)
    return labels.reshape(shape), counts.reshape(shape[:-2])
