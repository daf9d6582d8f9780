"""What the NumPy forms of the operators share: the compiled module, and arrays made fit for it."""

from __future__ import annotations

import math
import types

import numpy as np

from kseg_ops import _library
from kseg_ops._checks import check_box_dtype


def as_boxes(boxes) -> np.ndarray:
    """Boxes as float32; TypeError for dtypes that cannot hold pixel coordinates."""
    boxes = np.asarray(boxes)
    check_box_dtype(boxes.dtype.name)
    return boxes.astype(np.float32, copy=False)


def as_scores(scores) -> np.ndarray:
    """Scores as float32; floating types only, and what has no type yet."""
    array = np.asarray(scores)
    # By name, for bfloat16 is no floating type to NumPy. Python's numbers may be written without a point.
    if hasattr(scores, "dtype") and not array.dtype.name.endswith(("float16", "float32", "float64")):
        raise TypeError(f"scores must be floating, got {array.dtype}")
    return array.astype(np.float32)


# NumPy has integers that the kernels have no code for. Each goes to one that holds all its values, uint64 excepted.
_WIDER = {"bool": "uint8", "int16": "int32", "uint32": "int64", "uint64": "int64"}


def as_supported_integers(array) -> np.ndarray:
    """The array, integers of it in a type that the kernels have code for."""
    array = as_native_order(array)
    if array.dtype == np.uint64:
        # Saturated: wrapped round, 2**64 - 1 would be -1, which may be the ignore_index.
        array = np.minimum(array, np.uint64(2**63 - 1))
    wider = _WIDER.get(array.dtype.name)
    return array.astype(wider) if wider else array


def as_native_order(array) -> np.ndarray:
    """The array with the machine's byte order, which readers of TIFF and FITS need not give."""
    array = np.asarray(array)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def core() -> types.ModuleType:
    """The compiled module; RuntimeError that says why where there is none."""
    module = _library.core()
    if module is None:
        raise RuntimeError(
            f"kseg_ops.numpy needs the compiled library, which is not in use: {_library.core_problem()}. With "
            "TensorFlow, the functions of kseg_ops run without it."
        )
    return module


def as_planes(masks) -> tuple[np.ndarray, tuple[int, ...]]:
    """uint8 `[N, H, W]` of masks `[..., H, W]`, and the shape of those."""
    masks = np.asarray(masks)
    if masks.dtype.kind not in "biu":
        raise TypeError(f"masks must be bool or integer, got dtype {masks.dtype.name}: compare with a threshold first")
    if masks.ndim < 2:
        raise ValueError(f"masks must have shape [..., H, W], got shape {masks.shape}")
    shape = masks.shape
    planes = masks.reshape((math.prod(shape[:-2]), *shape[-2:]))
    return (planes if masks.dtype == np.uint8 else planes != 0).view(np.uint8), shape
