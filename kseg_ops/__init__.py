"""Operators for image segmentation on TensorFlow, each with a compiled form and a pure-TensorFlow reference.

Usable without kseg. Importing this package is cheap: TensorFlow is imported with the first operator that is asked for,
and the compiled library is loaded with the first call. `kseg_ops.numpy` offers the same operators on NumPy arrays,
without TensorFlow.
"""

from __future__ import annotations

import importlib
import sys
import types

from kseg_ops import _library  # noqa: F401 - at hand for whoever asks what is native
from kseg_ops._library import use_reference

__version__ = "0.1.0"

# Public name -> the module that defines it.
_LAZY = {
    "AsppBranch": "kseg_ops.aspp_branch",
    "aspp": "kseg_ops.aspp",
    "atrous_conv2d": "kseg_ops.atrous_conv2d",
    "atrous_separable_conv2d": "kseg_ops.atrous_separable_conv2d",
    "batched_nms": "kseg_ops.batched_nms",
    "confusion_matrix": "kseg_ops.confusion_matrix",
    "connected_components": "kseg_ops.connected_components",
    "crop_masks": "kseg_ops.crop_masks",
    "depthwise_atrous_conv2d": "kseg_ops.depthwise_atrous_conv2d",
    "distance_transform": "kseg_ops.distance_transform",
    "mask_iou": "kseg_ops.mask_iou",
    "mask_nms": "kseg_ops.mask_nms",
    "max_pool_with_indices": "kseg_ops.max_pool_with_indices",
    "max_unpool2d": "kseg_ops.max_unpool2d",
    "multilevel_roi_align": "kseg_ops.multilevel_roi_align",
    "nms": "kseg_ops.nms",
    "pack_masks": "kseg_ops.pack_masks",
    "paste_masks": "kseg_ops.paste_masks",
    "resize_argmax": "kseg_ops.resize_argmax",
    "resize_softmax_cross_entropy": "kseg_ops.resize_softmax_cross_entropy",
    "resize_softmax_cross_entropy_and_dice": "kseg_ops.resize_softmax_cross_entropy_and_dice",
    "roi_align": "kseg_ops.roi_align",
    "unpack_masks": "kseg_ops.unpack_masks",
}
# Public modules of functions, imported when first asked for.
_LAZY_MODULES = ("coco_eval", "numpy", "rle")

__all__ = [
    "AsppBranch",
    "aspp",
    "atrous_conv2d",
    "atrous_separable_conv2d",
    "batched_nms",
    "coco_eval",
    "confusion_matrix",
    "connected_components",
    "crop_masks",
    "depthwise_atrous_conv2d",
    "distance_transform",
    "mask_iou",
    "mask_nms",
    "max_pool_with_indices",
    "max_unpool2d",
    "multilevel_roi_align",
    "nms",
    "pack_masks",
    "paste_masks",
    "resize_argmax",
    "resize_softmax_cross_entropy",
    "resize_softmax_cross_entropy_and_dice",
    "rle",
    "roi_align",
    "unpack_masks",
    "use_reference",
]


def __getattr__(name: str):
    if name in _LAZY_MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_LAZY_MODULES})


class _Package(types.ModuleType):
    """Keeps `kseg_ops.roi_align` the function: importing the module of that name would put itself in its place."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in _LAZY and isinstance(value, types.ModuleType):
            return
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
