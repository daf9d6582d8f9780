"""The operators on NumPy arrays, by the compiled library and without TensorFlow.

The same kernels as the TensorFlow ops have, on threads of their own (`KSEG_NUM_THREADS`, by default one per CPU).
Unless its docstring says otherwise, a function has no reference to fall back on: without the compiled library it raises
`RuntimeError` and says why.
"""

from kseg_ops import rle
from kseg_ops.numpy.confusion_matrix import confusion_matrix
from kseg_ops.numpy.crop_masks import crop_masks
from kseg_ops.numpy.resize_argmax import resize_argmax
from kseg_ops.numpy.roi_align import roi_align

__all__ = ["confusion_matrix", "crop_masks", "resize_argmax", "rle", "roi_align"]
