"""Cross-entropy."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg._class_arguments import is_finite_number
from kseg.losses.segmentation_loss import SegmentationLoss, small_cross_entropy


@keras.saving.register_keras_serializable(package="kseg")
class CrossEntropy(SegmentationLoss):
    """Cross-entropy of the softmax (C >= 2) or the sigmoid (C = 1) of the logits, averaged over valid pixels.

    With class weights `w` the mean is a weighted one, `sum(w[y] * ce) / sum(w[y])` over valid pixels, so that
    weights shift the balance between classes and not the size of the loss. A class absent from the labels adds nothing.

    Args:
        ignore_index: the label of void pixels, any int, or None if there are none.
        class_weights: one weight per class (two for single-channel logits), as a sequence or a dict by class number,
            or None.
        label_smoothing: in [0, 1): this part of the target is spread evenly over all classes (Szegedy et al. 2016,
            https://arxiv.org/abs/1512.00567).
        reduction: see `SegmentationLoss`.
        name: as in Keras.

    Call arguments, range checks and errors: see `SegmentationLoss`.

    Raises:
        ValueError: a label smoothing outside [0, 1).

    Example:
        >>> loss = CrossEntropy(ignore_index=255)
        >>> value = loss(np.array([[[0, 255]]]), np.array([[[[0.0, 0.0], [9.0, -9.0]]]]))
        >>> round(float(value), 4)  # log(2); the void pixel is left out
        0.6931
    """

    def __init__(
        self,
        ignore_index=255,
        class_weights=None,
        label_smoothing=0.0,
        reduction="sum_over_batch_size",
        name="cross_entropy",
    ):
        super().__init__(ignore_index, class_weights, reduction, name)
        if not is_finite_number(label_smoothing) or not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1); got {label_smoothing!r}")
        self.label_smoothing = label_smoothing

    def pixel_loss(self, targets):
        return self.entropy(targets, self.label_smoothing) if targets.entropy is None else targets.entropy

    @staticmethod
    def entropy(targets, smoothing):
        """The cross-entropy of each pixel, `(B, H, W)`, without class weights."""
        if targets.small:
            return small_cross_entropy(targets, smoothing)
        if targets.logits.shape[-1] == 1:
            target = tf.cast(targets.labels, tf.float32) * (1 - smoothing) + smoothing / 2
            return tf.nn.sigmoid_cross_entropy_with_logits(target, targets.logits[..., 0])
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(targets.labels, targets.logits)
        if smoothing:
            uniform = -tf.reduce_mean(tf.nn.log_softmax(targets.logits), axis=-1)
            entropy = (1 - smoothing) * entropy + smoothing * uniform
        return entropy

    def normalizer(self, targets, class_weight_map):
        if class_weight_map is None:
            return super().normalizer(targets, class_weight_map)
        return class_weight_map

    def get_config(self):
        return {**super().get_config(), "label_smoothing": self.label_smoothing}
