"""The confusion matrix on arrays."""

from __future__ import annotations

import numpy as np

from kseg_ops._checks import MAX_CLASSES, as_ignore_index, as_int
from kseg_ops.numpy._arrays import as_supported_integers, core


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
    return core().confusion_matrix(
        as_supported_integers(labels),
        as_supported_integers(logits_or_labels),
        as_int("num_classes", num_classes, 1, MAX_CLASSES),
        as_ignore_index(ignore_index),
    )
