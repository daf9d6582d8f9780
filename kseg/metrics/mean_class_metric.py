"""What the metrics that average the scores of classes have in common."""

from __future__ import annotations

import tensorflow as tf

from kseg.metrics.class_metric import ClassMetric
from kseg.metrics.confusion_matrix_metric import mean_over_classes


class MeanClassMetric(ClassMetric):
    """Base class: the mean of the scores over the classes that have one; 0 if none has."""

    def result_of(self, matrix):
        return tf.cast(mean_over_classes(self.scores(matrix)), self.dtype)
