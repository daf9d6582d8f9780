"""What the metrics with one result per class have in common."""

from __future__ import annotations

import tensorflow as tf

from kseg.metrics.class_metric import ClassMetric
from kseg.metrics.class_names import check_class_names, named_scores


class PerClassMetric(ClassMetric):
    """Base class: a dictionary of the scores, `{"<name>_<class>": scalar}`.

    Args:
        num_classes: as in `ClassMetric`.
        ignore_index: as in `ClassMetric`.
        class_names: one name per class (two in the sigmoid case), used in the result's keys; by default the numbers.
        absent: as in `ClassMetric`.
        name, dtype: as in Keras.

    Raises:
        ValueError: another number of names than of classes, or a name twice.
    """

    def __init__(self, num_classes, ignore_index=255, class_names=None, absent="skip", name=None, dtype=None):
        super().__init__(num_classes, ignore_index, absent, name=name, dtype=dtype)
        self.class_names = check_class_names(class_names, self.matrix_size)

    def result_of(self, matrix):
        return named_scores(self.name, self.class_names, tf.cast(self.scores(matrix), self.dtype))

    def get_config(self):
        names = None if self.class_names is None else list(self.class_names)
        return {**super().get_config(), "class_names": names}
