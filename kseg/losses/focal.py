"""Focal loss."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg._class_arguments import is_finite_number
from kseg.losses.segmentation_loss import SegmentationLoss, small_cross_entropy

# Below this, 1 - p counts as this: its power with an exponent below 1 has an infinite slope at 0, and infinity times
# a cross-entropy of 0 is NaN.
_SMALLEST = 1e-12


@keras.saving.register_keras_serializable(package="kseg")
class Focal(SegmentationLoss):
    """Focal loss, `(1 - p)**gamma * cross_entropy` with p the probability of the true class, over valid pixels.

    Source: Lin, Goyal, Girshick, He, Dollar: "Focal Loss for Dense Object Detection", 2017,
    https://arxiv.org/abs/1708.02002. With `gamma=0` and no class weights it is the cross-entropy. The paper's alpha is
    `class_weights=(1 - alpha, alpha)` for single-channel logits. Class weights are factors: the mean divides by the
    number of valid pixels, not by their weights. A class absent from the labels adds nothing.

    Args:
        gamma: the focusing exponent, at least 0.
        ignore_index: the label of void pixels, any int, or None if there are none.
        class_weights: one factor per class (two for single-channel logits), or None.
        reduction: see `SegmentationLoss`.
        name: as in Keras.

    Call arguments, range checks and errors: see `SegmentationLoss`.

    Raises:
        ValueError: a gamma that is negative or no finite number.
    """

    def __init__(self, gamma=2.0, ignore_index=255, class_weights=None, reduction="sum_over_batch_size", name="focal"):
        super().__init__(ignore_index, class_weights, reduction, name)
        if not is_finite_number(gamma) or gamma < 0:
            raise ValueError(f"gamma must be at least 0; got {gamma!r}. Pass a finite number")
        self.gamma = gamma

    def pixel_loss(self, targets):
        if targets.small:
            entropy = small_cross_entropy(targets)
        elif targets.logits.shape[-1] == 1:
            target = tf.cast(targets.labels, tf.float32)
            entropy = tf.nn.sigmoid_cross_entropy_with_logits(target, targets.logits[..., 0])
        else:
            entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(targets.labels, targets.logits)
        if self.gamma == 0:
            return entropy
        # 1 - p = 1 - exp(-entropy), without the cancellation that subtracting from 1 has for p near 1.
        missing = tf.maximum(-tf.math.expm1(-entropy), _SMALLEST)
        return missing**self.gamma * entropy

    def get_config(self):
        return {**super().get_config(), "gamma": self.gamma}
