"""The confusion matrix itself."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg.metrics.confusion_matrix_metric import ConfusionMatrixMetric


@keras.saving.register_keras_serializable(package="kseg")
class ConfusionMatrix(ConfusionMatrixMetric):
    """The confusion matrix since the last reset: rows are labels, columns predictions.

    Absent classes have rows and columns of zeros. The result is no scalar, which progress bars and CSV logs cannot
    show: use it by hand, or in `evaluate`.

    Args:
        num_classes: number of classes; 1 is the sigmoid case with its 2 x 2 matrix.
        ignore_index: the label of void pixels, or None.
        name, dtype: as in Keras. The result is int64 whatever the dtype.

    `update_state`, range checks and errors: see `ConfusionMatrixMetric`.
    """

    def __init__(self, num_classes, ignore_index=255, name="confusion_matrix", dtype=None):
        super().__init__(num_classes, ignore_index, name=name, dtype=dtype)

    def result_of(self, matrix):
        return tf.identity(matrix)
