"""RoIAlign over a feature pyramid, on arrays."""

from __future__ import annotations

import numpy as np

from kseg_ops._checks import MAX_SAMPLING_RATIO, as_flag, as_int, as_output_size
from kseg_ops._pyramid import as_canonical_level, as_canonical_size, as_pyramid, level_areas, spatial_scales
from kseg_ops.numpy._arrays import as_boxes, as_native_order, core


def multilevel_roi_align(
    features,
    boxes,
    output_size: int | tuple[int, int],
    sampling_ratio: int = 2,
    aligned: bool = True,
    canonical_size: float = 224,
    canonical_level: int = 4,
) -> np.ndarray:
    """RoIAlign with the level rule of FPN on arrays; `kseg_ops.multilevel_roi_align` states the semantics in full.

    Args:
        features: The pyramid `{"P2": [B, H, W, C], ...}` of one dtype: float32, float16, float64 or ml_dtypes'
            bfloat16. Level n has stride 2**n.
        boxes: `[B, N, 4]`, x1 y1 x2 y2 in pixels of the image; converted to float32. 16-bit floats are refused.
        output_size: Height and width `(h, w)` of what is cut out, or one int for both.
        sampling_ratio: Samples per bin and axis; 0 adapts it to the box.
        aligned: Whether pixel centres lie at half-integers.
        canonical_size: Side in pixels of the square box that starts `canonical_level`.
        canonical_level: Its level.

    Returns:
        `[B, N, h, w, C]` in the dtype of `features`.

    Raises:
        RuntimeError: The compiled library cannot be used.
        TypeError: A dtype is none of the above or differs between levels, or an argument is not of its kind.
        ValueError: A level's name, a shape or a size does not fit.

    Example:
        >>> pyramid = {"P2": np.full((1, 16, 16, 1), 2.0), "P4": np.full((1, 4, 4, 1), 4.0)}
        >>> multilevel_roi_align(pyramid, [[[0, 0, 60, 60]]], 1).ravel()
        array([2.])
    """
    pyramid = as_pyramid(features)
    areas = level_areas(tuple(pyramid), as_canonical_size(canonical_size), as_canonical_level(canonical_level))
    return core().multilevel_roi_align(
        [as_native_order(level) for level in pyramid.values()],
        as_boxes(boxes),
        as_output_size(output_size),
        spatial_scales(pyramid),
        list(areas),
        as_int("sampling_ratio", sampling_ratio, 0, MAX_SAMPLING_RATIO),
        as_flag("aligned", aligned),
    )
