"""The operators on NumPy arrays, by the compiled library and without TensorFlow.

The same kernels as the TensorFlow ops have, on threads of their own (`KSEG_NUM_THREADS`, by default one per CPU). There
is no reference to fall back on here: without the compiled library every function raises `RuntimeError` and says why.
"""

from __future__ import annotations

import types

import numpy as np

from kseg_ops import _library
from kseg_ops._checks import (
    MAX_CLASSES,
    MAX_SAMPLING_RATIO,
    as_ignore_index,
    as_index_array,
    as_int,
    as_map_size,
    as_output_size,
    as_scale,
    check_box_dtype,
)

__all__ = ["confusion_matrix", "resize_argmax", "roi_align"]


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
    return _core().roi_align(
        _as_native_order(features),
        _as_boxes(boxes),
        as_index_array(box_indices),
        as_output_size(output_size),
        as_scale(spatial_scale),
        as_int("sampling_ratio", sampling_ratio, 0, MAX_SAMPLING_RATIO),
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
        TypeError: A dtype is not supported, or `num_classes` or `ignore_index` is not an integer.
        ValueError: Shapes do not fit, or a label or a counted predicted class is out of range.

    Example:
        >>> confusion_matrix(np.array([0, 1, 255]), np.array([0, 0, 1]), num_classes=2)
        array([[1, 0],
               [1, 0]])
    """
    return _core().confusion_matrix(
        _as_supported_integers(labels),
        _as_supported_integers(logits_or_labels),
        as_int("num_classes", num_classes, 1, MAX_CLASSES),
        as_ignore_index(ignore_index),
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
        TypeError: The dtype of `logits` is none of the above, or `size` is not of integers.
        ValueError: A shape or size does not fit.

    Example:
        >>> resize_argmax(np.array([[[[1.0, 0.0], [0.0, 1.0]]]], np.float32), (1, 4))
        array([[[0, 0, 1, 1]]], dtype=int32)
    """
    return _core().resize_argmax(_as_native_order(logits), as_map_size(size), bool(align_corners))


def _as_boxes(boxes) -> np.ndarray:
    boxes = np.asarray(boxes)
    check_box_dtype(boxes.dtype.name)
    return boxes.astype(np.float32, copy=False)


# NumPy has integers that the kernels have no code for. Each goes to one that holds all its values, uint64 excepted.
_WIDER = {"bool": "uint8", "int16": "int32", "uint32": "int64", "uint64": "int64"}


def _as_supported_integers(array) -> np.ndarray:
    array = _as_native_order(array)
    if array.dtype == np.uint64:
        # Saturated: wrapped round, 2**64 - 1 would be -1, which may be the ignore_index.
        array = np.minimum(array, np.uint64(2**63 - 1))
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
