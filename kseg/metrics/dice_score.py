"""Mean Dice coefficient."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg.metrics.confusion_matrix_metric import (
    ConfusionMatrixMetric,
    check_absent,
    mean_over_classes,
    ratio_per_class,
)


@keras.saving.register_keras_serializable(package="kseg")
class DiceScore(ConfusionMatrixMetric):
    """Mean over classes of the Dice coefficient (F1) `2 TP / (2 TP + FP + FN)`, over all pixels since the last reset.

    Source: Dice, "Measures of the Amount of Ecologic Association Between Species", 1945.

    Args:
        num_classes: number of classes; 1 is the sigmoid case, whose mean is over background and foreground.
        ignore_index: the label of void pixels, or None.
        absent: what a class does that is absent from both labels and predictions: `"skip"` leaves it out of the mean,
            `"one"` counts it as 1, `"zero"` as 0.
        name, dtype: as in Keras.

    `update_state`, range checks and errors: see `ConfusionMatrixMetric`.
    """

    def __init__(self, num_classes, ignore_index=255, absent="skip", name="dice_score", dtype=None):
        super().__init__(num_classes, ignore_index, name=name, dtype=dtype)
        self.absent = check_absent(absent)

    def result(self):
        hits, labelled, predicted = self.counts()
        dice = ratio_per_class(2 * hits, labelled + predicted, self.absent)
        return tf.cast(mean_over_classes(dice), self.dtype)

    def get_config(self):
        return {**super().get_config(), "absent": self.absent}
