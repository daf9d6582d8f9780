"""Mean class accuracy."""

from __future__ import annotations

import keras

from kseg.metrics.mean_recall import MeanRecall


@keras.saving.register_keras_serializable(package="kseg")
class MeanAccuracy(MeanRecall):
    """Mean over classes of the part of the class's pixels that are right, `TP / (TP + FN)`, since the last reset.

    The segmentation literature's "mean accuracy" (mAcc): Long et al., "Fully Convolutional Networks for Semantic
    Segmentation", 2015. The same number as `MeanRecall`; `PixelAccuracy` is that over all pixels alike.

    Args:
        num_classes: number of classes; 1 is the sigmoid case, whose mean is over background and foreground.
        ignore_index: the label of void pixels, or None.
        absent: what a class does that no pixel is labelled as, so that it has no accuracy: `"skip"` leaves it
            out of the mean, `"one"` counts it as 1, `"zero"` as 0 (scikit-learn's `zero_division` NaN, 1 and 0).
        name, dtype: as in Keras.

    `update_state`, range checks and errors: see `ConfusionMatrixMetric`.
    """

    def __init__(self, num_classes, ignore_index=255, absent="skip", name="mean_accuracy", dtype=None):
        super().__init__(num_classes, ignore_index, absent, name=name, dtype=dtype)
