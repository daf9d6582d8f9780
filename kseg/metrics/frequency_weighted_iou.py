"""Frequency-weighted intersection over union."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg.metrics import class_ratios
from kseg.metrics.confusion_matrix_metric import ConfusionMatrixMetric, ratio_per_class


@keras.saving.register_keras_serializable(package="kseg")
class FrequencyWeightedIoU(ConfusionMatrixMetric):
    """The mean of the classes' `TP / (TP + FP + FN)`, each weighted by its share of the labelled pixels.

    Over all valid pixels since the last reset; 0 without one. A class that no pixel is labelled as has weight 0, so
    that there is no policy for absent classes.

    Source: Long et al., "Fully Convolutional Networks for Semantic Segmentation", 2015.

    Args:
        num_classes: number of classes; 1 is the sigmoid case, with background and foreground.
        ignore_index: the label of void pixels, or None.
        name, dtype: as in Keras.

    `update_state`, range checks and errors: see `ConfusionMatrixMetric`.
    """

    def __init__(self, num_classes, ignore_index=255, name="frequency_weighted_iou", dtype=None):
        super().__init__(num_classes, ignore_index, name=name, dtype=dtype)

    def result_of(self, matrix):
        hits, labelled, predicted = self.counts(matrix)
        iou = ratio_per_class(*class_ratios.iou(hits, labelled, predicted), absent="zero")
        return tf.cast(tf.math.divide_no_nan(tf.reduce_sum(labelled * iou), tf.reduce_sum(labelled)), self.dtype)
