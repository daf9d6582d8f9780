"""Recall of each class."""

from __future__ import annotations

import keras

from kseg.metrics import class_ratios
from kseg.metrics.per_class_metric import PerClassMetric


@keras.saving.register_keras_serializable(package="kseg")
class PerClassRecall(PerClassMetric):
    """The recall `TP / (TP + FN)` of each class, over all pixels since the last reset.

    Args:
        num_classes: number of classes; 1 is the sigmoid case, with background and foreground.
        ignore_index: the label of void pixels, or None.
        class_names: one name per class (two in the sigmoid case), used in the result's keys; by default the numbers.
        absent: the value of a class that no pixel is labelled as: `"skip"` NaN, `"one"` 1, `"zero"` 0.
        name, dtype: as in Keras.

    `update_state`, range checks and errors: see `ConfusionMatrixMetric`.

    Returns:
        `result()` is a dictionary `{"<name>_<class>": scalar}`.

    Raises:
        ValueError: another number of names than of classes, or a name twice.
    """

    ratio = staticmethod(class_ratios.recall)

    def __init__(self, num_classes, ignore_index=255, class_names=None, absent="skip", name="recall", dtype=None):
        super().__init__(num_classes, ignore_index, class_names, absent, name=name, dtype=dtype)
