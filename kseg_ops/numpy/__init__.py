"""The operators on NumPy arrays, by the compiled library and without TensorFlow.

The same kernels as the TensorFlow ops have, on threads of their own (`KSEG_NUM_THREADS`, by default one per CPU).
Unless its docstring says otherwise, a function has no reference to fall back on: without the compiled library it raises
`RuntimeError` and says why.
"""

from kseg_ops.numpy.confusion_matrix import confusion_matrix
from kseg_ops.numpy.resize_argmax import resize_argmax
from kseg_ops.numpy.resize_softmax_cross_entropy import (
    resize_softmax_cross_entropy,
    resize_softmax_cross_entropy_and_dice,
    resize_softmax_cross_entropy_gradient,
)
from kseg_ops.numpy.roi_align import roi_align

__all__ = [
    "confusion_matrix",
    "resize_argmax",
    "resize_softmax_cross_entropy",
    "resize_softmax_cross_entropy_and_dice",
    "resize_softmax_cross_entropy_gradient",
    "roi_align",
]
