"""What the losses made of a class's overlap, predicted and labelled pixels have in common."""

from __future__ import annotations

import tensorflow as tf

import kseg_ops
from kseg._class_arguments import is_finite_number
from kseg._corner_alignment import corners_are_aligned
from kseg.losses.class_mean_loss import ClassMeanLoss
from kseg.losses.targets import VOID, class_probabilities, pixel_weights, valid_weights
from kseg.metrics.native_steps import metric_ops


def small_sums(targets, sample_weight, label_smoothing=0.0):
    """`kseg_ops.CrossEntropyAndDice` of logits that are smaller than the labels."""
    weights = None
    if sample_weight is not None:
        weights = pixel_weights(sample_weight, targets.labels)
        weights = tf.reshape(weights, [1, 1, 1]) if weights.shape.rank == 0 else weights
    with metric_ops():
        return kseg_ops.resize_softmax_cross_entropy_and_dice(
            targets.marked_labels(),
            targets.logits,
            weights,
            ignore_index=VOID,
            label_smoothing=label_smoothing,
            align_corners=corners_are_aligned(),
        )


class RegionLoss(ClassMeanLoss):
    """Base class of Dice, Jaccard and their kin: a subclass makes a loss of three sums per class.

    With g the one-hot label and p the softmax (or sigmoid) probability of a class, summed over valid pixels:
    `overlap = sum(p * g)`, `predicted = sum(p)`, `labelled = sum(g)`. The sums are float32 whatever the precision
    policy: half precision overflows at 65,504 pixels. Logits smaller than the labels are swept over once, without ever
    being held at full size; several of these losses in a `WeightedSum` share the sweep.

    Args:
        smooth: added to numerator and denominator; at least 0.
        ignore_index, absent, class_weights, per_image, reduction, name: see `ClassMeanLoss`.
    """

    def __init__(self, ignore_index, absent, smooth, class_weights, per_image, reduction, name):
        super().__init__(ignore_index, absent, class_weights, per_image, reduction, name)
        if not is_finite_number(smooth) or smooth < 0:
            raise ValueError(f"smooth must be at least 0; got {smooth!r}. Pass a finite number")
        self.smooth = smooth

    def loss_of_sums(self, overlap, predicted, labelled):
        """The loss of each class, of float32 sums of any one shape."""
        raise NotImplementedError

    def class_losses(self, targets, sample_weight):
        overlap, predicted, labelled = self._sums(targets, sample_weight)
        return self.loss_of_sums(overlap, predicted, labelled), labelled

    def _sums(self, targets, sample_weight):
        """Overlap, predicted and labelled pixels of each class, of each image or of the batch."""
        if targets.small:
            sums = targets.region_sums or small_sums(targets, sample_weight)
            each = sums.overlap, sums.predicted, sums.labelled
            return each if self.per_image else tuple(tf.reduce_sum(values, 0) for values in each)
        weight = valid_weights(targets, sample_weight)[..., tf.newaxis]
        probability = class_probabilities(targets)
        truth = tf.one_hot(targets.labels, targets.num_classes) * weight
        axes = [1, 2] if self.per_image else [0, 1, 2]
        return tuple(tf.reduce_sum(values, axes) for values in (probability * truth, probability * weight, truth))

    def get_config(self):
        return {**super().get_config(), "smooth": self.smooth}
