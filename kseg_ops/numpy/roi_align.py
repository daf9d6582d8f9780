"""RoIAlign on arrays."""

from __future__ import annotations

import numpy as np

from kseg_ops._checks import MAX_SAMPLING_RATIO, as_flag, as_index_array, as_int, as_output_size, as_scale
from kseg_ops.numpy._arrays import as_boxes, as_native_order, core


def roi_align(
    features,
    boxes,
    box_indices,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 2,
    aligned: bool = True,
) -> np.ndarray:
    """RoIAlign (He et al. 2017, section 3) on arrays; `kseg_ops.roi_align` states the semantics in full.

    Args:
        features: `[B, H, W, C]`, float32, float16, float64 or ml_dtypes' bfloat16.
        boxes: `[K, 4]`, x1 y1 x2 y2 in pixels before `spatial_scale`; converted to float32. 16-bit floats are refused.
        box_indices: `[K]`, which of the B images each box lies in; any integer type.
        output_size: Height and width `(h, w)` of what is cut out, or one int for both.
        spatial_scale: What box coordinates are multiplied by.
        sampling_ratio: Samples per bin and axis; 0 adapts it to the box.
        aligned: Whether pixel centres lie at half-integers.

    Returns:
        `[K, h, w, C]` in the dtype of `features`.

    Raises:
        RuntimeError: The compiled library cannot be used.
        TypeError: The dtype of `features` is none of the above, `boxes` or `box_indices` cannot be converted, or an
            argument is not a number of its kind.
        ValueError: A shape, size or index does not fit.

    Example:
        >>> features = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
        >>> roi_align(features, [[0, 0, 4, 4]], [0], (2, 2))[0, :, :, 0]
        array([[ 2.5,  4.5],
               [10.5, 12.5]], dtype=float32)
    """
    return core().roi_align(
        as_native_order(features),
        as_boxes(boxes),
        as_index_array(box_indices),
        as_output_size(output_size),
        as_scale(spatial_scale),
        as_int("sampling_ratio", sampling_ratio, 0, MAX_SAMPLING_RATIO),
        as_flag("aligned", aligned),
    )
