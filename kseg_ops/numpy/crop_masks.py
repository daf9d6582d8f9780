"""crop_masks on arrays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kseg_ops import rle
from kseg_ops._checks import MAX_SAMPLING_RATIO, as_crop_size, as_flag, as_int, as_threshold
from kseg_ops._rle_items import as_image_size
from kseg_ops.numpy._arrays import as_boxes, core

_MAX_WIDTH = 2**24


def crop_masks(
    masks,
    boxes,
    size: int | tuple[int, int],
    mask_indices=None,
    *,
    width: int | None = None,
    image_size: tuple[int, int] | None = None,
    sampling_ratio: int = 0,
    aligned: bool = True,
    threshold: float | None = None,
) -> np.ndarray:
    """Resamples binary masks below boxes by RoIAlign; `kseg_ops.crop_masks` states the semantics in full.

    Args:
        masks: Dense masks, bool or uint8 `[M, H, W]`; with `width`, packed ones, uint8 `[M, H, ceil(W / 8)]`; a list
            of M COCO RLEs (dicts of one size); or with `image_size`, a list of M lists of polygons
            `[x1, y1, x2, y2, ...]`, as in the `segmentation` of COCO annotations.
        boxes: `[K, 4]`, x1 y1 x2 y2 in pixels; converted to float32. 16-bit floats are refused.
        size: Height and width `(h, w)` of a crop, or one int for both; 1 to 4096.
        mask_indices: `[K]`, which mask each box is cut from, -1 giving zeros. None: box k from mask k.
        width: The width of packed masks; None where they are not packed.
        image_size: Height and width of polygons' images. (RLEs carry theirs.)
        sampling_ratio: Samples per bin and axis; 0 adapts it to the box.
        aligned: Whether pixel centres lie at half-integers.
        threshold: None, or the least share that becomes 1; all less becomes 0.

    Returns:
        float32 `[K, h, w]`.

    Raises:
        RuntimeError: The compiled library cannot be used.
        TypeError: A dtype is not supported, or an argument is not of its kind.
        ValueError: A shape, size, index or mask does not fit.

    Example:
        >>> crop_masks([{"size": [2, 4], "counts": [4, 4]}], [[1, 0, 3, 2]], (1, 2))
        array([[[0., 1.]]], dtype=float32)
    """
    module = core()
    size = as_crop_size(size)
    sampling_ratio = as_int("sampling_ratio", sampling_ratio, 0, MAX_SAMPLING_RATIO)
    threshold = as_threshold(threshold)
    boxes = as_boxes(boxes)
    count = len(masks)
    rest = (boxes, _as_indices(mask_indices, boxes, count), size)
    sampling = (sampling_ratio, as_flag("aligned", aligned))
    if isinstance(masks, np.ndarray):
        if image_size is not None:
            raise ValueError("image_size goes with polygons; dense masks have their own")
        crops = _crop_dense(module, masks, width, rest, sampling)
    elif width is not None:
        raise ValueError("width goes with packed masks, which are an array")
    elif image_size is None:
        counts = [np.array(entry, np.int32) for entry in rle.to_counts(masks)]
        sizes = {tuple(entry["size"]) for entry in masks}
        if len(sizes) > 1:
            raise ValueError(f"masks must have one size, got {sorted(sizes)}")
        crops = module.crop_masks_rle(*_flat(counts, np.int32), *rest, next(iter(sizes), (0, 0)), *sampling)
    else:
        image_size = as_image_size("image_size", image_size)
        polygons = [
            _as_polygon(index, polygon) for index, mask in enumerate(masks) for polygon in _as_list(index, mask)
        ]
        splits = np.cumsum([0, *(len(mask) for mask in masks)]).astype(np.int64)
        crops = module.crop_masks_polygon(*_flat(polygons, np.float64), splits, *rest, image_size, *sampling)
    return crops if threshold is None else (crops >= np.float32(threshold)).astype(np.float32)


def _crop_dense(module, masks: np.ndarray, width, rest: tuple, sampling: tuple) -> np.ndarray:
    packed = width is not None
    if masks.dtype == bool and not packed:
        masks = masks.view(np.uint8)
    if masks.dtype != np.uint8:
        raise TypeError(f"masks must be {'uint8' if packed else 'bool or uint8'}, got {masks.dtype}")
    if masks.ndim != 3:
        raise ValueError(f"masks must have shape [M, H, W], got {list(masks.shape)}")
    width = as_int("width", width, 0, _MAX_WIDTH) if packed else masks.shape[2]
    if packed and masks.shape[2] != (width + 7) // 8:
        raise ValueError(
            f"width must be that of the packed masks, which have {masks.shape[2]} bytes per row, got {width}"
        )
    return module.crop_masks(masks, packed, *rest, (masks.shape[1], width), *sampling)


def _as_indices(value, boxes: np.ndarray, masks: int) -> np.ndarray:
    if value is None:
        if boxes.ndim == 2 and len(boxes) != masks:
            raise ValueError(
                f"mask_indices must be given where there is not one mask per box, got {len(boxes)} boxes and {masks} "
                "masks"
            )
        return np.arange(len(boxes), dtype=np.int32)
    indices = np.asarray(value)
    if indices.size == 0:
        return indices.astype(np.int32)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"mask_indices must be integers, got {indices.dtype}")
    # Saturated: an index beyond int32 is refused as out of range instead of wrapping round into it.
    limits = np.iinfo(np.int32)
    return np.clip(indices, limits.min, limits.max).astype(np.int32)


def _as_list(index: int, mask) -> list:
    if isinstance(mask, (str, bytes, Mapping)) or not hasattr(mask, "__iter__"):
        raise TypeError(f"masks[{index}] must be a list of polygons, got {mask!r:.80}")
    return mask


def _as_polygon(index: int, polygon) -> np.ndarray:
    try:
        array = np.asarray(polygon)
    except ValueError:
        array = np.empty((0, 0))
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iuf"):
        raise TypeError(f"masks[{index}] must hold flat lists of coordinates x, y in turn, got {polygon!r:.80}")
    return array.astype(np.float64)


def _flat(arrays: list[np.ndarray], dtype) -> tuple[np.ndarray, np.ndarray]:
    """The arrays one after the other, and where each begins."""
    splits = np.cumsum([0, *(len(array) for array in arrays)]).astype(np.int64)
    return np.concatenate([np.zeros(0, dtype), *arrays]), splits
