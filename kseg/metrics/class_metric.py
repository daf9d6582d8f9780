"""What the metrics that score each class have in common."""

from __future__ import annotations

from kseg.metrics.confusion_matrix_metric import ConfusionMatrixMetric, check_absent, ratio_per_class


class ClassMetric(ConfusionMatrixMetric):
    """Base class: one score per class, the ratio of two counts.

    A subclass sets `ratio` to a function of `kseg.metrics.class_ratios`.

    Args:
        num_classes: number of classes; 1 is the sigmoid case, with background and foreground.
        ignore_index: the label of void pixels, or None.
        absent: the score of a class whose denominator is 0: `"skip"` NaN, `"one"` 1, `"zero"` 0.
        name, dtype: as in Keras.
    """

    ratio = None

    def __init__(self, num_classes, ignore_index=255, absent="skip", name=None, dtype=None):
        super().__init__(num_classes, ignore_index, name=name, dtype=dtype)
        self.absent = check_absent(absent)

    def scores(self, matrix=None):
        """The score of each class, float64 `(C,)`, NaN where it has none.

        Args:
            matrix: int64 `(C, C)`; None for what this metric has counted itself.
        """
        return ratio_per_class(*self.ratio(*self.counts(matrix)), self.absent)

    def get_config(self):
        return {**super().get_config(), "absent": self.absent}
