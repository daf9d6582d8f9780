"""What the losses have in common: checks, weights and the mean over valid pixels."""

from __future__ import annotations

import keras
import tensorflow as tf

import kseg_ops
from kseg._class_arguments import check_ignore_index
from kseg._corner_alignment import corners_are_aligned
from kseg.losses.targets import VOID, check_class_weights, class_weight_vector, pixel_weights, prepare_targets
from kseg.metrics.native_steps import metric_ops

REDUCTIONS = ("sum_over_batch_size", "mean_with_sample_weight", "sum", "none", None)


class SegmentationLoss(keras.losses.Loss):
    """Base class of the losses per pixel: a subclass says what one pixel costs.

    The mean is over *valid* pixels of the batch: those whose label is not `ignore_index`. A batch of void pixels only
    has loss 0. Void pixels change neither value nor gradient. Everything is computed in float32.

    Args:
        ignore_index: the label of void pixels, any int, or None if there are none.
        class_weights: one weight per class (two for single-channel logits: background, foreground), as a sequence or a
            dict by class number, or None.
        reduction: `"sum_over_batch_size"`: weighted sum over valid pixels divided by their number (Keras's name for
            the mean); `"mean_with_sample_weight"`: divided by the sum of the sample weights of valid pixels;
            `"sum"`; `"none"` or None: the map `(B, H, W)` with 0 at void pixels.
        name: as in Keras.

    Call arguments:
        y_true: labels `(B, H, W)` or `(B, H, W, 1)`, integers or floats that are whole.
        y_pred: logits `(B, H, W, C)`; C = 1 is the sigmoid case: background where the label is 0, foreground where 1.
            Logits of a smaller height or width are upsampled bilinearly (half-pixel centres, as `tf.image.resize`)
            within the loss, by `kseg_ops.resize_softmax_cross_entropy`, which never holds them at full size.
        sample_weight: one weight per image `(B,)` or per pixel `(B, H, W)`.

    Raises:
        ValueError: an argument outside its range, sizes that do not fit, a wrong number of class weights.
        tf.errors.InvalidArgumentError: a label outside `0..C-1` that is not `ignore_index`, or no whole number. XLA
            drops this check: in a `jit_compile=True` step a label out of range counts as void. (kseg's models check
            labels before the step.)
    """

    takes_smaller_logits = True  # read by models that have them

    def __init__(self, ignore_index=255, class_weights=None, reduction="sum_over_batch_size", name=None):
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction must be one of {REDUCTIONS}; got {reduction!r}")
        super().__init__(name=name, dtype="float32")
        # Not passed to the base class: the oldest supported Keras does not know every one of these names.
        self.reduction = reduction
        self.ignore_index = check_ignore_index(ignore_index)
        self.class_weights = check_class_weights(class_weights)

    def pixel_loss(self, targets):
        """The cost of each pixel.

        Args:
            targets: `kseg.losses.targets.Targets`.

        Returns:
            `(B, H, W)` float32, finite at void pixels too, where its value is not used; class weights not applied.
        """
        raise NotImplementedError

    def select(self, targets, sample_weight):
        """Targets in which only the pixels that are to count are valid; here, as they are."""
        del sample_weight
        return targets

    def class_weight_map(self, targets):
        """The weight of each pixel's class, `(B, H, W)` float32, or None. Subclasses say whether the mean divides."""
        if self.class_weights is None:
            return None
        return tf.gather(class_weight_vector(self.class_weights, targets.num_classes), targets.labels)

    def normalizer(self, targets, class_weight_map):
        """What each valid pixel adds to the divisor of the mean: its class weight, or 1."""
        del class_weight_map
        return tf.ones_like(targets.labels, tf.float32)

    def call(self, y_true, y_pred):
        """The map `(B, H, W)` of pixel losses with class weights applied, 0 at void pixels."""
        targets = self.select(prepare_targets(y_true, y_pred, self.ignore_index), None)
        return self._weighted(targets, self.class_weight_map(targets))

    def _weighted(self, targets, class_weight_map):
        losses = self.pixel_loss(targets)
        if class_weight_map is not None:
            losses *= class_weight_map
        return tf.where(targets.valid, losses, tf.zeros_like(losses))

    def __call__(self, y_true, y_pred, sample_weight=None):
        with tf.name_scope(self.name):
            return self.of_targets(prepare_targets(y_true, y_pred, self.ignore_index), sample_weight)

    def of_targets(self, targets, sample_weight):
        """The loss of prepared targets."""
        targets = self.select(targets, sample_weight)
        class_weight_map = self.class_weight_map(targets)
        losses = self._weighted(targets, class_weight_map)
        divisors = self.normalizer(targets, class_weight_map)
        if sample_weight is not None:
            weights = pixel_weights(sample_weight, targets.labels)
            losses *= weights
            if self.reduction == "mean_with_sample_weight":
                divisors *= weights
        if self.reduction in ("none", None):
            return losses
        total = tf.reduce_sum(losses)
        if self.reduction == "sum":
            return total
        divisor = tf.reduce_sum(tf.where(targets.valid, divisors, tf.zeros_like(divisors)))
        return mean_over_replicas(tf.math.divide_no_nan(total, divisor))

    def get_config(self):
        return {
            "name": self.name,
            "reduction": self.reduction,
            "ignore_index": self.ignore_index,
            "class_weights": self.class_weights,
        }


def small_cross_entropy(targets, label_smoothing=0.0):
    """The cross-entropy `(B, H, W)`, without class weights, of logits that are smaller than the labels."""
    with metric_ops():
        return kseg_ops.resize_softmax_cross_entropy(
            targets.marked_labels(),
            targets.logits,
            ignore_index=VOID,
            label_smoothing=label_smoothing,
            align_corners=corners_are_aligned(),
        )


class _OneValue(keras.losses.Loss):
    """Passes one number through Keras's own reduction."""

    def call(self, y_true, y_pred):
        del y_true
        return y_pred


_ONE_VALUE = _OneValue(name="one_value", reduction="sum_over_batch_size", dtype="float32")


def mean_over_replicas(value):
    """Scale a mean as Keras scales the means of its own losses under `tf.distribute`.

    Keras versions differ in whether a loss is divided by the number of replicas (gradients are summed over them). A
    mean over a single element goes through whatever the running version does, by public means only.
    """
    value = tf.reshape(value, [1])
    return _ONE_VALUE(value, value)
