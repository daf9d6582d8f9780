"""The operators on NumPy arrays, by the compiled library and without TensorFlow.

The same kernels as the TensorFlow ops have, on threads of their own (`KSEG_NUM_THREADS`, by default one per CPU).
Unless its docstring says otherwise, a function has no reference to fall back on: without the compiled library it raises
`RuntimeError` and says why.
"""

from kseg_ops.numpy.confusion_matrix import confusion_matrix
from kseg_ops.numpy.mask_iou import mask_iou
from kseg_ops.numpy.mask_nms import mask_nms
from kseg_ops.numpy.pack_masks import pack_masks
from kseg_ops.numpy.paste_masks import paste_masks
from kseg_ops.numpy.resize_argmax import resize_argmax
from kseg_ops.numpy.roi_align import roi_align
from kseg_ops.numpy.unpack_masks import unpack_masks

__all__ = [
    "confusion_matrix",
    "mask_iou",
    "mask_nms",
    "pack_masks",
    "paste_masks",
    "resize_argmax",
    "roi_align",
    "unpack_masks",
]
