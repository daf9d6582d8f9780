"""The operators on NumPy arrays, by the compiled library and without TensorFlow.

The same kernels as the TensorFlow ops have, on threads of their own (`KSEG_NUM_THREADS`, by default one per CPU).
Unless its docstring says otherwise, a function has no reference to fall back on: without the compiled library it raises
`RuntimeError` and says why.
"""

from kseg_ops import coco_eval, rle
from kseg_ops.aspp_branch import AsppBranch
from kseg_ops.numpy.aspp import aspp
from kseg_ops.numpy.atrous_conv2d import atrous_conv2d
from kseg_ops.numpy.atrous_separable_conv2d import atrous_separable_conv2d
from kseg_ops.numpy.batched_nms import batched_nms
from kseg_ops.numpy.confusion_matrix import confusion_matrix
from kseg_ops.numpy.connected_components import connected_components
from kseg_ops.numpy.crop_masks import crop_masks
from kseg_ops.numpy.depthwise_atrous_conv2d import depthwise_atrous_conv2d
from kseg_ops.numpy.distance_transform import distance_transform
from kseg_ops.numpy.mask_iou import mask_iou
from kseg_ops.numpy.mask_nms import mask_nms
from kseg_ops.numpy.max_pool_with_indices import max_pool_with_indices
from kseg_ops.numpy.max_unpool2d import max_unpool2d
from kseg_ops.numpy.multilevel_roi_align import multilevel_roi_align
from kseg_ops.numpy.nms import nms
from kseg_ops.numpy.pack_masks import pack_masks
from kseg_ops.numpy.paste_masks import paste_masks
from kseg_ops.numpy.resize_argmax import resize_argmax
from kseg_ops.numpy.resize_softmax_cross_entropy import (
    resize_softmax_cross_entropy,
    resize_softmax_cross_entropy_and_dice,
    resize_softmax_cross_entropy_gradient,
)
from kseg_ops.numpy.roi_align import roi_align
from kseg_ops.numpy.unpack_masks import unpack_masks

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
    "resize_softmax_cross_entropy_gradient",
    "rle",
    "roi_align",
    "unpack_masks",
]
