"""What the metrics that look at the shapes of objects have in common."""

from __future__ import annotations

import keras
import tensorflow as tf

import kseg_ops
from kseg._class_arguments import check_ignore_index, check_num_classes
from kseg._whole_labels import whole_labels
from kseg.metrics.class_names import check_class_names, named_scores
from kseg.metrics.confusion_matrix_metric import ConfusionMatrixMetric
from kseg.metrics.native_steps import metric_ops
from kseg_ops.reference.confusion_matrix import predicted_classes

VOID = -1


class ClassMapMetric(keras.metrics.Metric):
    """Base class: sees the class map of each image, true and predicted, and gives each class a value.

    Void pixels belong to no class in either map, so that a class ends where void begins in both, and what is predicted
    there changes nothing.

    Args:
        num_classes: number of classes; 1 is the sigmoid case: background and foreground, of which the foreground (1)
            is measured.
        ignore_index: the label of void pixels, or None.
        classes: the numbers of the classes that are measured, or None for all (in the sigmoid case the foreground).
        class_names: one name per class, measured or not (two in the sigmoid case), used in the result's keys; by
            default the numbers.
        per_class: whether the result has the value of each class too.
        name, dtype: as in Keras.

    Call arguments of `update_state`: as in `ConfusionMatrixMetric`; `sample_weight` must be None.

    Returns:
        `result()` is the mean over the measured classes that have a value; with `per_class` a dictionary
        `{"<name>": mean, "<name>_<class>": scalar}`, NaN for a class that has none.

    Raises:
        ValueError: an argument out of its range, sample weights, shapes that do not fit.
        tf.errors.InvalidArgumentError: a label or a predicted class that is none (not under XLA, which drops
            assertions: such a pixel then belongs to no class).
    """

    takes_classes = True  # read by models that have them cheaper than logits

    def __init__(
        self,
        num_classes,
        ignore_index=255,
        classes=None,
        class_names=None,
        per_class=False,
        name=None,
        dtype=None,
    ):
        super().__init__(name=name, dtype=dtype)
        self.num_classes = check_num_classes(num_classes)
        self.ignore_index = check_ignore_index(ignore_index)
        self.num_labels = max(num_classes, 2)
        self.measured = _check_classes(classes, num_classes)
        self.classes = None if classes is None else self.measured
        self.class_names = check_class_names(class_names, self.num_labels)
        self.per_class = bool(per_class)

    @tf.autograph.experimental.do_not_convert
    def update_state(self, y_true, y_pred, sample_weight=None):
        """Take in one batch."""
        if sample_weight is not None:
            raise ValueError(
                f"{type(self).__name__} looks at the shapes of objects and takes no sample_weight. List it under "
                "`metrics`, not `weighted_metrics`, in compile(), and mark pixels that should not count with "
                "ignore_index"
            )
        with metric_ops():
            self.add_maps(*self.class_maps(y_true, y_pred))

    def class_maps(self, y_true, y_pred):
        """The class maps of a batch as `add_maps` takes them, checked."""
        return self._maps(*self._matched(whole_labels(y_true), tf.convert_to_tensor(y_pred)))

    _matched = ConfusionMatrixMetric._matched

    def add_maps(self, labels, predictions):
        """Take in one batch of class maps.

        Args:
            labels: int32 `(B, H, W)`, -1 where no class counts.
            predictions: int32 `(B, H, W)`, -1 at the same pixels.
        """
        raise NotImplementedError

    def values(self):
        """The value of each class, measured or not: float64 `(C,)`, NaN where it has none."""
        raise NotImplementedError

    def mean(self, values):
        """The mean of the values of the measured classes that have one: a float64 scalar."""
        raise NotImplementedError

    def result(self):
        values = self.values()
        mean = tf.cast(self.mean(tf.gather(values, self.measured)), self.dtype)
        if not self.per_class:
            return mean
        return {self.name: mean} | named_scores(
            self.name, self.class_names, tf.cast(values, self.dtype), classes=self.measured
        )

    def reset_state(self):
        for variable in self.variables:
            variable.assign(tf.zeros(variable.shape, variable.dtype))

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "ignore_index": self.ignore_index,
            "classes": None if self.classes is None else list(self.classes),
            "class_names": None if self.class_names is None else list(self.class_names),
            "per_class": self.per_class,
        }

    def _maps(self, labels, predictions):
        if predictions.dtype.is_floating:
            predictions = _winning_classes(predictions, self.num_labels)
        labels, predictions = tf.cast(labels, tf.int64), tf.cast(predictions, tf.int64)
        void = tf.zeros_like(labels, tf.bool) if self.ignore_index is None else tf.equal(labels, self.ignore_index)
        known = (labels >= 0) & (labels < self.num_labels)
        in_range = (predictions >= 0) & (predictions < self.num_labels)
        checks = [
            _assert_all(
                known | void, labels, f"labels must be in 0..{self.num_labels - 1} or {self.ignore_index}, got"
            ),
            _assert_all(in_range | void, predictions, f"predicted classes must be in 0..{self.num_labels - 1}, got"),
        ]
        with tf.control_dependencies([check for check in checks if check is not None]):
            counted = known & in_range & ~void
        return tuple(tf.where(counted, tf.cast(maps, tf.int32), VOID) for maps in (labels, predictions))


def _winning_classes(logits, num_labels):
    """The class of the largest logit, the lowest of equal ones, where NaN counts as -inf."""
    if logits.shape[-1] == 1 or logits.dtype == tf.float64:  # the op computes in float32
        return predicted_classes(logits, num_labels)
    # At the same size nothing is interpolated, and the compiled op is several times as fast as tf.argmax.
    return kseg_ops.resize_argmax(logits, tf.shape(logits)[1:3])


def _check_classes(classes, num_classes):
    if classes is None:
        return (1,) if num_classes == 1 else tuple(range(num_classes))
    count = max(num_classes, 2)
    numbers = tuple(classes) if isinstance(classes, (list, tuple, range)) else ()
    is_class = [isinstance(n, int) and not isinstance(n, bool) and 0 <= n < count for n in numbers]
    if not numbers or not all(is_class) or len(set(numbers)) != len(numbers):
        raise ValueError(f"classes must be different class numbers from 0 to {count - 1}, or None; got {classes!r}")
    return numbers


def _assert_all(allowed, values, message):
    offender = tf.reduce_max(tf.where(allowed, tf.int64.min, values))
    return tf.debugging.Assert(tf.reduce_all(allowed), [message, offender])
