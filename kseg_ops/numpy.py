"""The operators on NumPy arrays, by the compiled library and without TensorFlow.

The same kernels as the TensorFlow ops have, on threads of their own (`KSEG_NUM_THREADS`, by default one per CPU). There
is no reference to fall back on here: without the compiled library every function raises `RuntimeError` and says why.
"""

from __future__ import annotations

import types

import numpy as np

from kseg_ops import _library

__all__ = ["confusion_matrix", "resize_argmax", "roi_align"]


def roi_align(
    features,
    boxes,
    box_indices,
    output_size: tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 2,
    aligned: bool = True,
) -> np.ndarray:
    """RoIAlign (He et al. 2017, section 3) on arrays; `kseg_ops.roi_align` states the semantics in full.

    Args:
        features: `[B, H, W, C]`, float32, float16, float64 or ml_dtypes' bfloat16.
        boxes: `[K, 4]`, x1 y1 x2 y2 in pixels before `spatial_scale`; converted to float32.
        box_indices: `[K]`, which of the B images each box lies in; any integer type.
        output_size: Height and width `(h, w)` of what is cut out.
        spatial_scale: What box coordinates are multiplied by.
        sampling_ratio: Samples per bin and axis; 0 adapts it to the box.
        aligned: Whether pixel centres lie at half-integers.

    Returns:
        `[K, h, w, C]` in the dtype of `features`.

    Raises:
        RuntimeError: The compiled library cannot be used.
        TypeError: The dtype of `features` is none of the above, or `box_indices` are no integers.
        ValueError: A shape, size or index does not fit.

    Example:
        >>> features = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
        >>> roi_align(features, [[0, 0, 4, 4]], [0], (2, 2))[0, :, :, 0]
        array([[ 2.5,  4.5],
               [10.5, 12.5]], dtype=float32)
    """
    height, width = output_size
    return _core().roi_align(
        _as_native_order(features),
        np.asarray(boxes, dtype=np.float32),
        _as_indices(box_indices),
        (int(height), int(width)),
        float(spatial_scale),
        int(sampling_ratio),
        bool(aligned),
    )


def confusion_matrix(labels, logits_or_labels, num_classes: int, ignore_index: int | None = 255) -> np.ndarray:
    """Counts how often each true class was predicted as each class; `kseg_ops.confusion_matrix` states it in full.

    Args:
        labels: Integer array of any shape S.
        logits_or_labels: Floating logits of shape `S + (num_classes,)` (or `S + (1,)` for two classes), or integer
            classes of shape S.
        num_classes: Number of classes C.
        ignore_index: Label of the pixels that are not counted; None counts all.

    Returns:
        int64 `[C, C]`, rows truth, columns prediction.

    Raises:
        RuntimeError: The compiled library cannot be used.
        TypeError: A dtype is not supported.
        ValueError: Shapes do not fit, or a label or a counted predicted class is out of range.

    Example:
        >>> confusion_matrix(np.array([0, 1, 255]), np.array([0, 0, 1]), num_classes=2)
        array([[1, 0],
               [1, 0]])
    """
    return _core().confusion_matrix(
        _as_supported_integers(labels),
        _as_supported_integers(logits_or_labels),
        int(num_classes),
        ignore_index,
    )


def resize_argmax(logits, size: tuple[int, int], align_corners: bool = False) -> np.ndarray:
    """The argmax over classes of bilinearly resized logits; `kseg_ops.resize_argmax` states the semantics in full.

    Args:
        logits: `[B, h, w, C]`, float32, float16, float64 or ml_dtypes' bfloat16.
        size: The new height and width `(H, W)`.
        align_corners: False for half-pixel centres, True for corner pixels that keep their centres.

    Returns:
        int32 `[B, H, W]`; of equal values the lowest class wins.

    Raises:
        RuntimeError: The compiled library cannot be used.
        TypeError: The dtype of `logits` is none of the above.
        ValueError: A shape or size does not fit.

    Example:
        >>> resize_argmax(np.array([[[[1.0, 0.0], [0.0, 1.0]]]], np.float32), (1, 4))
        array([[[0, 0, 1, 1]]], dtype=int32)
    """
    height, width = size
    return _core().resize_argmax(_as_native_order(logits), (int(height), int(width)), bool(align_corners))


def _as_indices(box_indices) -> np.ndarray:
    indices = np.asarray(box_indices)
    if indices.size == 0:
        return indices.astype(np.int32)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"box_indices must be integers, got {indices.dtype}")
    # Saturated, so that an index beyond int32 is refused as out of range instead of wrapping round into it.
    limits = np.iinfo(np.int32)
    return np.clip(indices, limits.min, limits.max).astype(np.int32)


# NumPy has integers that the kernels have no code for. Each goes to one that holds all its values, uint64 excepted:
# there, a class that int64 cannot hold turns negative and is refused as out of range.
_WIDER = {"bool": "uint8", "int16": "int32", "uint32": "int64", "uint64": "int64"}


def _as_supported_integers(array) -> np.ndarray:
    array = _as_native_order(array)
    wider = _WIDER.get(array.dtype.name)
    return array.astype(wider) if wider else array


def _as_native_order(array) -> np.ndarray:
    """The array with the machine's byte order, which readers of TIFF and FITS need not give."""
    array = np.asarray(array)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _core() -> types.ModuleType:
    module = _library.core()
    if module is None:
        raise RuntimeError(
            f"kseg_ops.numpy needs the compiled library, which is not in use: {_library.core_problem()}. With "
            "TensorFlow, the functions of kseg_ops run without it."
        )
    return module
