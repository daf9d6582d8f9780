"""Mean intersection over union."""

from __future__ import annotations

import keras

from kseg.metrics import class_ratios
from kseg.metrics.mean_class_metric import MeanClassMetric


@keras.saving.register_keras_serializable(package="kseg")
class MeanIoU(MeanClassMetric):
    """Mean over classes of `TP / (TP + FP + FN)`, counted over all pixels since the last reset.

    Source: Everingham et al., "The Pascal Visual Object Classes Challenge", 2015.

    Args:
        num_classes: number of classes; 1 is the sigmoid case, whose mean is over background and foreground.
        ignore_index: the label of void pixels, or None.
        absent: what a class does that is absent from both labels and predictions: `"skip"` leaves it out of the mean,
            `"one"` counts it as 1, `"zero"` as 0. (A class that is predicted but not labelled has IoU 0 always.)
        name, dtype: as in Keras.

    `update_state`, range checks and errors: see `ConfusionMatrixMetric`.

    Example:
        >>> metric = MeanIoU(num_classes=2)
        >>> metric.update_state(np.array([[[0, 0, 1, 255]]]), np.array([[[0, 1, 1, 0]]]))
        >>> metric.result()  # (1/2 + 1/2) / 2
        0.5
    """

    ratio = staticmethod(class_ratios.iou)

    def __init__(self, num_classes, ignore_index=255, absent="skip", name="mean_iou", dtype=None):
        super().__init__(num_classes, ignore_index, absent, name=name, dtype=dtype)
