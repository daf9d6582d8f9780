"""Mean recall."""

from __future__ import annotations

import keras

from kseg.metrics import class_ratios
from kseg.metrics.mean_class_metric import MeanClassMetric


@keras.saving.register_keras_serializable(package="kseg")
class MeanRecall(MeanClassMetric):
    """Mean over classes of the recall `TP / (TP + FN)`, over all pixels since the last reset.

    How much of a class is found: scikit-learn's macro average. `MeanAccuracy` is the same under another name.

    Args:
        num_classes: number of classes; 1 is the sigmoid case, whose mean is over background and foreground.
        ignore_index: the label of void pixels, or None.
        absent: what a class does that no pixel is labelled as, so that it has no recall: `"skip"` leaves it
            out of the mean, `"one"` counts it as 1, `"zero"` as 0 (scikit-learn's `zero_division` NaN, 1 and 0).
        name, dtype: as in Keras.

    `update_state`, range checks and errors: see `ConfusionMatrixMetric`.
    """

    ratio = staticmethod(class_ratios.recall)

    def __init__(self, num_classes, ignore_index=255, absent="skip", name="mean_recall", dtype=None):
        super().__init__(num_classes, ignore_index, absent, name=name, dtype=dtype)
