"""What the metrics that count pixels have in common: one confusion matrix, counted exactly."""

from __future__ import annotations

import keras
import tensorflow as tf

import kseg_ops
from kseg._class_arguments import check_ignore_index, check_num_classes
from kseg._whole_labels import whole_labels
from kseg.metrics.native_steps import metric_ops
from kseg.metrics.replicas import add_over_replicas

ABSENT = ("skip", "one", "zero")


class ConfusionMatrixMetric(keras.metrics.Metric):
    """Base class: accumulates the confusion matrix of all batches; a subclass makes a number of it.

    Counts are int64 and exact. Under `tf.distribute` each replica counts its share and the counts are summed.

    Args:
        num_classes: number of classes; 1 is the sigmoid case: the matrix is 2 x 2, foreground where the logit is > 0.
        ignore_index: the label of void pixels, any int, or None if there are none. They are not counted.
        name: as in Keras.
        dtype: as in Keras; the dtype of the result, not of the counts.

    Call arguments of `update_state`:
        y_true: labels `(B, H, W)` or `(B, H, W, 1)`, integers or floats that are whole.
        y_pred: floating logits `(B, H, W, C)`, or predicted classes as integers in the shape of the labels.
        sample_weight: must be None. Pixels are counted, not weighed: list the metric under `metrics`, not
            `weighted_metrics`, and mark what should not count with `ignore_index`.

    Raises:
        ValueError: a number of classes below 1 or above 65536, an ignore index that is no int, sample weights, shapes
            that do not fit.
        tf.errors.InvalidArgumentError: a label outside `0..C-1` that is not `ignore_index`, or no whole number (not
            under XLA, which drops assertions).
    """

    takes_classes = True  # read by models that have them cheaper than logits

    def __init__(self, num_classes, ignore_index=255, name=None, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.num_classes = check_num_classes(num_classes)
        self.ignore_index = check_ignore_index(ignore_index)
        self.matrix_size = max(num_classes, 2)
        self.matrix = self.add_variable(
            shape=(self.matrix_size, self.matrix_size),
            initializer="zeros",
            dtype="int64",
            aggregation="sum",
            name="matrix",
        )

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Count one batch."""
        if sample_weight is not None:
            raise ValueError(
                f"{type(self).__name__} counts pixels and takes no sample_weight. List it under `metrics`, not "
                "`weighted_metrics`, in compile(), and mark pixels that should not count with ignore_index"
            )
        y_true, y_pred = self._matched(whole_labels(y_true), tf.convert_to_tensor(y_pred))
        with metric_ops():
            counts = kseg_ops.confusion_matrix(y_true, y_pred, self.matrix_size, ignore_index=self.ignore_index)
        add_over_replicas(self.matrix, counts)

    def _matched(self, y_true, y_pred):
        if y_pred.dtype.is_floating and y_pred.shape[-1] != self.num_classes:
            raise ValueError(
                f"logits (y_pred) of shape {tuple(y_pred.shape)} must have num_classes={self.num_classes} channels"
            )
        pixels = y_pred.shape[:-1] if y_pred.dtype.is_floating else y_pred.shape
        if y_pred.dtype.is_integer and pixels.rank == 4 and pixels[-1] == 1:
            y_pred, pixels = tf.squeeze(y_pred, -1), pixels[:-1]
        if y_true.shape.rank is None:  # a step traced for both (B, H, W) and (B, H, W, 1)
            y_true = tf.reshape(y_true, tf.shape(y_pred)[: pixels.rank])
        if y_true.shape.rank == pixels.rank + 1 and y_true.shape[-1] == 1:
            y_true = tf.squeeze(y_true, -1)
        if not y_true.shape.is_compatible_with(pixels):
            raise ValueError(
                f"labels (y_true) of shape {tuple(y_true.shape)} do not fit predictions (y_pred) of shape "
                f"{tuple(y_pred.shape)}: the heights and widths must be equal. Resize smaller logits in the model, or "
                "metric.update_state(labels, kseg_ops.resize_argmax(logits, size))"
            )
        return y_true, y_pred

    def merge_state(self, metrics):
        """Add the counts of other metrics of the same classes.

        Args:
            metrics: an iterable of metrics of this kind, for example one per process.

        Raises:
            ValueError: one of them has another number of classes.
        """
        for other in metrics:
            if not isinstance(other, ConfusionMatrixMetric) or other.matrix_size != self.matrix_size:
                raise ValueError(
                    f"merge_state takes metrics over {self.matrix_size} classes; got {other!r}"
                    + (f" over {other.matrix_size}" if isinstance(other, ConfusionMatrixMetric) else "")
                )
            self.matrix.assign_add(tf.convert_to_tensor(other.matrix))

    def reset_state(self):
        self.matrix.assign(tf.zeros((self.matrix_size, self.matrix_size), tf.int64))

    def counts(self, matrix=None):
        """True positives, labelled pixels and predicted pixels of each class.

        Args:
            matrix: int64 `(C, C)`, rows truth; None for what this metric has counted itself.

        Returns:
            Three float64 vectors `(C,)`; float64 is exact up to 2**53 pixels.
        """
        matrix = tf.cast(tf.convert_to_tensor(self.matrix if matrix is None else matrix), tf.float64)
        return tf.linalg.diag_part(matrix), tf.reduce_sum(matrix, 1), tf.reduce_sum(matrix, 0)

    def result_of(self, matrix):
        """What the metric makes of a confusion matrix, be it its own or a shared one (`ConfusionMatrixReport`).

        Args:
            matrix: int64 `(C, C)`, rows truth, columns prediction.

        Returns:
            A scalar, a tensor, or a dictionary of them by name.
        """
        raise NotImplementedError

    def result(self):
        return self.result_of(tf.convert_to_tensor(self.matrix))

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes, "ignore_index": self.ignore_index}


def check_absent(absent):
    """The policy for absent classes, checked.

    Raises:
        ValueError: an unknown policy.
    """
    if absent not in ABSENT:
        raise ValueError(f"absent must be one of {ABSENT}; got {absent!r}")
    return absent


def ratio_per_class(numerator, denominator, absent):
    """`numerator / denominator` per class, with the policy for classes whose denominator is 0.

    Args:
        numerator: float64 `(C,)`.
        denominator: float64 `(C,)`, counts.
        absent: `"skip"` gives NaN, `"one"` 1, `"zero"` 0.

    Returns:
        float64 `(C,)`.
    """
    fill = {"skip": float("nan"), "one": 1.0, "zero": 0.0}[absent]
    is_absent = tf.equal(denominator, 0)
    safe = tf.where(is_absent, tf.ones_like(denominator), denominator)
    return tf.where(is_absent, tf.constant(fill, tf.float64), numerator / safe)


def mean_over_classes(values):
    """The mean of the entries that are not NaN; 0 if there is none (before the first batch, or all void)."""
    counted = ~tf.math.is_nan(values)
    total = tf.reduce_sum(tf.where(counted, values, tf.zeros_like(values)))
    return tf.math.divide_no_nan(total, tf.reduce_sum(tf.cast(counted, values.dtype)))
