"""What the losses that are averaged over classes have in common: which classes count, and the mean."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg._class_arguments import check_flag, check_ignore_index
from kseg.losses.segmentation_loss import REDUCTIONS, mean_over_replicas
from kseg.losses.targets import check_class_weights, class_weight_vector, prepare_targets

ABSENT = ("skip", "one", "count")


def check_absent(absent):
    """The policy for absent classes, checked.

    Raises:
        ValueError: none of `ABSENT`.
    """
    if absent not in ABSENT:
        raise ValueError(f"absent must be one of {ABSENT}; got {absent!r}")
    return absent


def mean_class_weights(class_weights, targets):
    """What each class counts in a mean over classes, `(C,)`: for single-channel logits by default the foreground only.

    Args:
        class_weights: what `check_class_weights` returned.
        targets: `kseg.losses.targets.Targets`.
    """
    if class_weights is not None:
        return class_weight_vector(class_weights, targets.num_classes)
    if targets.logits.shape[-1] == 1:
        return tf.constant([0.0, 1.0])
    return tf.ones([targets.num_classes])


class ClassMeanLoss(keras.losses.Loss):
    """Base class of the losses that are averaged over classes: a subclass says what each class costs.

    Args:
        ignore_index: the label of void pixels, any int, or None if there are none. They enter nothing.
        absent: what a class without a single labelled pixel adds. `"skip"`: nothing, the mean is over the classes
            present; `"one"`: it counts as if it were segmented perfectly, with loss 0; `"count"`: the formula as it
            stands.
        class_weights: one weight per class in the mean over classes (two for single-channel logits, of which the
            first must then be what background counts; by default only the foreground counts there), or None.
        per_image: False: one loss over the whole batch; True: one per image, averaged over the images in which some
            class counts.
        reduction: `"sum_over_batch_size"`: the mean; `"sum"`: over images; `"none"` or None: one value per image
            `(B,)` if `per_image`, else a scalar.
        name: as in Keras.

    Call arguments:
        y_true: labels `(B, H, W)` or `(B, H, W, 1)`, integers or floats that are whole.
        y_pred: logits `(B, H, W, C)`; C = 1 is the sigmoid case, whose loss is the foreground's. Logits of a smaller
            height or width are upsampled within the loss: see `SegmentationLoss`.
        sample_weight: per image or per pixel; says what a pixel counts, so weight 0 is void.

    Returns:
        float32. A batch of void pixels only has loss 0.

    Raises:
        ValueError: an argument outside its range; sizes that do not fit.
        tf.errors.InvalidArgumentError: a label outside the range (not under XLA: see `SegmentationLoss`).
    """

    takes_smaller_logits = True  # read by models that have them

    def __init__(self, ignore_index, absent, class_weights, per_image, reduction, name):
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction must be one of {REDUCTIONS}; got {reduction!r}")
        super().__init__(name=name, dtype="float32")
        self.reduction = reduction
        self.ignore_index = check_ignore_index(ignore_index)
        self.absent = check_absent(absent)
        self.class_weights = check_class_weights(class_weights)
        self.per_image = check_flag("per_image", per_image)

    def class_losses(self, targets, sample_weight):
        """What each class costs, and how much of it is labelled.

        Args:
            targets: `kseg.losses.targets.Targets`.
            sample_weight: as in the call, or None.

        Returns:
            Two float32 tensors, `(B, classes)` if `per_image` and `(classes,)` otherwise: the losses, finite for
            absent classes too, and the sum of the weights of the pixels labelled so.
        """
        raise NotImplementedError

    def __call__(self, y_true, y_pred, sample_weight=None):
        with tf.name_scope(self.name):
            return self.of_targets(prepare_targets(y_true, y_pred, self.ignore_index), sample_weight)

    def of_targets(self, targets, sample_weight):
        """The loss of prepared targets."""
        losses, counts = self._image_losses(targets, sample_weight)
        if self.reduction in ("none", None):
            return losses
        total = tf.reduce_sum(losses)
        if self.reduction == "sum":
            return total
        return mean_over_replicas(tf.math.divide_no_nan(total, tf.reduce_sum(tf.cast(counts, tf.float32))))

    def call(self, y_true, y_pred):
        """The loss before the mean over images: `(B,)` if `per_image`, else a scalar."""
        return self._image_losses(prepare_targets(y_true, y_pred, self.ignore_index), None)[0]

    def _image_losses(self, targets, sample_weight):
        """The loss of each image (or of the batch) and whether any class counts in it."""
        losses, labelled = self.class_losses(targets, sample_weight)
        present = labelled > 0
        # Without a valid pixel no class counts.
        any_pixel = tf.reduce_sum(labelled, -1, keepdims=True) > 0
        class_weights = mean_class_weights(self.class_weights, targets)
        if self.absent == "skip":
            class_weights = tf.where(present, class_weights, tf.zeros_like(labelled))
        elif self.absent == "one":
            losses = tf.where(present, losses, tf.zeros_like(losses))
        class_weights = tf.where(any_pixel, class_weights, tf.zeros_like(labelled))
        weight_sum = tf.reduce_sum(class_weights, -1)
        return tf.math.divide_no_nan(tf.reduce_sum(losses * class_weights, -1), weight_sum), weight_sum > 0

    def get_config(self):
        return {
            "name": self.name,
            "reduction": self.reduction,
            "ignore_index": self.ignore_index,
            "absent": self.absent,
            "class_weights": self.class_weights,
            "per_image": self.per_image,
        }
