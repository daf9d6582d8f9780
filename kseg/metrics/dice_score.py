"""Mean Dice coefficient."""

from __future__ import annotations

import keras

from kseg.metrics import class_ratios
from kseg.metrics.mean_class_metric import MeanClassMetric


@keras.saving.register_keras_serializable(package="kseg")
class DiceScore(MeanClassMetric):
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

    ratio = staticmethod(class_ratios.dice)

    def __init__(self, num_classes, ignore_index=255, absent="skip", name="dice_score", dtype=None):
        super().__init__(num_classes, ignore_index, absent, name=name, dtype=dtype)
