"""Soft Dice loss."""

from __future__ import annotations

import keras
import tensorflow as tf

import kseg_ops
from kseg._class_arguments import check_ignore_index, is_finite_number
from kseg.losses.segmentation_loss import REDUCTIONS, mean_over_replicas
from kseg.losses.targets import VOID, check_class_weights, class_weight_vector, pixel_weights, prepare_targets
from kseg.metrics.native_steps import metric_ops

ABSENT = ("skip", "one", "count")


def small_sums(targets, sample_weight, label_smoothing=0.0):
    """`kseg_ops.CrossEntropyAndDice` of logits that are smaller than the labels."""
    weights = None
    if sample_weight is not None:
        weights = pixel_weights(sample_weight, targets.labels)
        weights = tf.reshape(weights, [1, 1, 1]) if weights.shape.rank == 0 else weights
    with metric_ops():
        return kseg_ops.resize_softmax_cross_entropy_and_dice(
            targets.marked_labels(), targets.logits, weights, ignore_index=VOID, label_smoothing=label_smoothing
        )


@keras.saving.register_keras_serializable(package="kseg")
class Dice(keras.losses.Loss):
    """One minus the soft Dice coefficient, averaged over classes.

    For each class, with g the one-hot label and p the softmax (or sigmoid) probability, summed over valid pixels:
    `1 - (2 * sum(p * g) + smooth) / (sum(p) + sum(g) + smooth)`. The denominators are not squared. Sources: Milletari,
    Navab, Ahmadi: "V-Net", 2016, https://arxiv.org/abs/1606.04797 (squared there); Drozdzal et al. 2016,
    https://arxiv.org/abs/1608.04117 (as here). Sums are float32 whatever the precision policy: half precision
    overflows at 65,504 pixels.

    Args:
        ignore_index: the label of void pixels, any int, or None if there are none. They enter no sum.
        absent: what a class without a single labelled pixel in the sums adds. (A softmax never predicts exactly 0, so
            absence is judged by the labels.) `"skip"`: nothing, the mean is over the classes present; `"one"`: it
            counts with Dice 1, so loss 0; `"count"`: the formula as it stands, which pushes the class's probability
            down (loss near 1 for any appreciable prediction).
        smooth: added to numerator and denominator; at least 0.
        class_weights: one weight per class in the mean over classes (two for single-channel logits, of which the
            first must then be what background counts; by default only the foreground counts there), or None.
        per_image: False: one Dice over the whole batch; True: one per image, averaged over the images in which some
            class counts.
        reduction: `"sum_over_batch_size"`: the mean; `"sum"`: over images; `"none"` or None: one value per image
            `(B,)` if `per_image`, else a scalar.
        name: as in Keras.

    Call arguments:
        y_true: labels `(B, H, W)` or `(B, H, W, 1)`, integers or floats that are whole.
        y_pred: logits `(B, H, W, C)`; C = 1 is the sigmoid case, whose Dice is the foreground's. Logits of a smaller
            height or width are upsampled within the loss: see `SegmentationLoss`.
        sample_weight: per image or per pixel; weights pixels inside the sums, so weight 0 is void. (With
            `per_image=True` a weight common to all pixels of an image cancels, but for `smooth`.)

    Returns:
        float32. A batch of void pixels only has loss 0.

    Raises:
        ValueError: an argument outside its range; sizes that do not fit.
        tf.errors.InvalidArgumentError: a label outside the range (not under XLA: see `SegmentationLoss`).
    """

    def __init__(
        self,
        ignore_index=255,
        absent="skip",
        smooth=1.0,
        class_weights=None,
        per_image=False,
        reduction="sum_over_batch_size",
        name="dice",
    ):
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction must be one of {REDUCTIONS}; got {reduction!r}")
        if absent not in ABSENT:
            raise ValueError(f"absent must be one of {ABSENT}; got {absent!r}")
        if not is_finite_number(smooth) or smooth < 0:
            raise ValueError(f"smooth must be at least 0; got {smooth!r}. Pass a finite number")
        super().__init__(name=name, dtype="float32")
        self.reduction = reduction
        self.ignore_index = check_ignore_index(ignore_index)
        self.absent = absent
        self.smooth = smooth
        self.class_weights = check_class_weights(class_weights)
        self.per_image = per_image

    def __call__(self, y_true, y_pred, sample_weight=None):
        with tf.name_scope(self.name):
            return self.of_targets(prepare_targets(y_true, y_pred, self.ignore_index), sample_weight)

    def of_targets(self, targets, sample_weight):
        """The loss of prepared targets."""
        losses, counts = self._losses(targets, sample_weight)
        if self.reduction in ("none", None):
            return losses
        total = tf.reduce_sum(losses)
        if self.reduction == "sum":
            return total
        return mean_over_replicas(tf.math.divide_no_nan(total, tf.reduce_sum(tf.cast(counts, tf.float32))))

    def call(self, y_true, y_pred):
        """The loss before the mean over images: `(B,)` if `per_image`, else a scalar."""
        return self._losses(prepare_targets(y_true, y_pred, self.ignore_index), None)[0]

    def _losses(self, targets, sample_weight):
        """The loss of each image (or of the batch) and whether any class counts in it."""
        overlap, predicted, labelled = self._sums(targets, sample_weight)
        # divide_no_nan: with smooth=0 an absent class that is not predicted either has 0 / 0.
        loss = 1 - tf.math.divide_no_nan(2 * overlap + self.smooth, predicted + labelled + self.smooth)
        present = labelled > 0
        # Without a valid pixel no class counts.
        any_pixel = tf.reduce_sum(labelled, -1, keepdims=True) > 0

        class_weights = self._class_weights(targets)
        if self.absent == "skip":
            class_weights = tf.where(present, class_weights, tf.zeros_like(labelled))
        elif self.absent == "one":
            loss = tf.where(present, loss, tf.zeros_like(loss))
        class_weights = tf.where(any_pixel, class_weights, tf.zeros_like(labelled))
        weight_sum = tf.reduce_sum(class_weights, -1)
        return tf.math.divide_no_nan(tf.reduce_sum(loss * class_weights, -1), weight_sum), weight_sum > 0

    def _sums(self, targets, sample_weight):
        """Overlap, predicted and labelled pixels of each class, of each image or of the batch."""
        if targets.small:
            sums = targets.dice_sums or small_sums(targets, sample_weight)
            each = sums.overlap, sums.predicted, sums.labelled
            return each if self.per_image else tuple(tf.reduce_sum(values, 0) for values in each)
        weight = tf.cast(targets.valid, tf.float32)
        if sample_weight is not None:
            weight *= pixel_weights(sample_weight, targets.labels)
        weight = weight[..., tf.newaxis]
        if targets.logits.shape[-1] == 1:
            foreground = tf.sigmoid(targets.logits)
            probability = tf.concat([1 - foreground, foreground], axis=-1)
        else:
            probability = tf.nn.softmax(targets.logits)
        truth = tf.one_hot(targets.labels, targets.num_classes) * weight
        axes = [1, 2] if self.per_image else [0, 1, 2]
        return tuple(tf.reduce_sum(values, axes) for values in (probability * truth, probability * weight, truth))

    def _class_weights(self, targets):
        if self.class_weights is not None:
            return class_weight_vector(self.class_weights, targets.num_classes)
        if targets.logits.shape[-1] == 1:
            return tf.constant([0.0, 1.0])
        return tf.ones([targets.num_classes])

    def get_config(self):
        return {
            "name": self.name,
            "reduction": self.reduction,
            "ignore_index": self.ignore_index,
            "absent": self.absent,
            "smooth": self.smooth,
            "class_weights": self.class_weights,
            "per_image": self.per_image,
        }
