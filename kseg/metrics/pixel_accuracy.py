"""Pixel accuracy."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg.metrics.confusion_matrix_metric import ConfusionMatrixMetric


@keras.saving.register_keras_serializable(package="kseg")
class PixelAccuracy(ConfusionMatrixMetric):
    """The part of the valid pixels that have the right class, since the last reset; 0 without a valid pixel.

    Every pixel weighs the same, so a class absent from both labels and predictions has no influence.

    Args:
        num_classes: number of classes; 1 is the sigmoid case.
        ignore_index: the label of void pixels, or None.
        name, dtype: as in Keras.

    `update_state`, range checks and errors: see `ConfusionMatrixMetric`.
    """

    def __init__(self, num_classes, ignore_index=255, name="pixel_accuracy", dtype=None):
        super().__init__(num_classes, ignore_index, name=name, dtype=dtype)

    def result_of(self, matrix):
        hits, labelled, _ = self.counts(matrix)
        return tf.cast(tf.math.divide_no_nan(tf.reduce_sum(hits), tf.reduce_sum(labelled)), self.dtype)
