"""Intersection over union of each class."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg.metrics.confusion_matrix_metric import ConfusionMatrixMetric, check_absent, ratio_per_class


@keras.saving.register_keras_serializable(package="kseg")
class PerClassIoU(ConfusionMatrixMetric):
    """`TP / (TP + FP + FN)` of each class, over all pixels since the last reset.

    Args:
        num_classes: number of classes; 1 is the sigmoid case, with background and foreground.
        ignore_index: the label of void pixels, or None.
        class_names: one name per class (two in the sigmoid case), used in the result's keys; by default the numbers.
        absent: the value of a class absent from both labels and predictions: `"skip"` NaN, `"one"` 1, `"zero"` 0.
        name, dtype: as in Keras.

    `update_state`, range checks and errors: see `ConfusionMatrixMetric`.

    Returns:
        `result()` is a dictionary `{"<name>_<class>": scalar}`.

    Raises:
        ValueError: another number of names than of classes, or a name twice.
    """

    def __init__(self, num_classes, ignore_index=255, class_names=None, absent="skip", name="iou", dtype=None):
        super().__init__(num_classes, ignore_index, name=name, dtype=dtype)
        self.absent = check_absent(absent)
        if class_names is not None and len(set(class_names)) != self.matrix_size:
            raise ValueError(f"class_names must be {self.matrix_size} different names; got {class_names!r}")
        self.class_names = None if class_names is None else list(class_names)

    def result(self):
        hits, labelled, predicted = self.counts()
        iou = tf.cast(ratio_per_class(hits, labelled + predicted - hits, self.absent), self.dtype)
        names = self.class_names or range(self.matrix_size)
        return {f"{self.name}_{name}": iou[index] for index, name in enumerate(names)}

    def get_config(self):
        names = None if self.class_names is None else list(self.class_names)
        return {**super().get_config(), "class_names": names, "absent": self.absent}
