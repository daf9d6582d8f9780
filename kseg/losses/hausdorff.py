"""Hausdorff distance loss."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg._class_arguments import is_finite_number
from kseg.losses.class_distances import members_of
from kseg.losses.distance_loss import DistanceLoss
from kseg.losses.targets import full_size_logits


@keras.saving.register_keras_serializable(package="kseg")
class Hausdorff(DistanceLoss):
    """Squared errors weighted by distances to the boundaries of truth and prediction, averaged over pixels.

    `mean over valid pixels of mean over classes of (p - g)**2 * (d_g**alpha + d_p**alpha)`, with p the softmax (or
    sigmoid) probability of the class, g the one-hot label, and d the distance to the boundary of the class, on both
    sides: d_g of the region labelled so, d_p of the region predicted, where the class has the largest probability.
    Source: Karimi, Salcudean: "Reducing the Hausdorff Distance in Medical Image Segmentation with Convolutional Neural
    Networks", 2019, https://arxiv.org/abs/1904.10030 (the form with distance transforms). As there, d_p is a
    constant of the gradient. An error counts the more the farther it is from where it would be none, which is what the
    Hausdorff distance measures; the paper adds it to a Dice loss.

    A distance is that to the nearest valid pixel on the other side of the boundary. Void pixels belong to no region,
    neither of the truth nor of the prediction.

    **Cost.** Two distance transforms per image and class in each step; see `Boundary`. With labels of
    `with_distance_maps` it is one, because the predicted regions are known in the step only.

    Args:
        alpha: the exponent of distances, at least 0. 2 is the paper's; 0 makes it twice the squared error near
            boundaries and far from them alike.
        spacing: as in `Boundary`. Values grow with its power alpha.
        ignore_index: the label of void pixels, any int, or None if there are none.
        absent: what a class adds in an image that has none of it. `"skip"`: nothing, the mean is over the classes
            present in the image; `"one"`: it counts with cost 0; `"count"`: the formula with d_g = 0, which costs where
            the class is predicted. (Likewise d = 0 for a class that an image is full of, and d_p = 0 for one that is
            not predicted.)
        class_weights: as in `Boundary`.
        reduction: as in `SegmentationLoss`.
        name: as in Keras.

    Call arguments and returned values: see `Boundary`.

    Raises:
        ValueError: an alpha that is negative or no finite number; and as `Boundary`.
    """

    def __init__(
        self,
        alpha=2.0,
        spacing=1.0,
        ignore_index=255,
        absent="skip",
        class_weights=None,
        reduction="sum_over_batch_size",
        name="hausdorff",
    ):
        super().__init__(spacing, ignore_index, absent, class_weights, reduction, name)
        if not is_finite_number(alpha) or alpha < 0:
            raise ValueError(f"alpha must be at least 0; got {alpha!r}. Pass a finite number")
        self.alpha = alpha

    def class_costs(self, targets, probability, members, distances):
        logits = full_size_logits(targets)
        if logits.shape[-1] == 1:
            predicted = tf.cast(logits[..., 0] > 0, tf.int32)
        else:
            predicted = tf.argmax(logits, axis=-1, output_type=tf.int32)
        regions = members_of(predicted, targets.valid, targets.num_classes)
        to_predicted = self.distances(predicted, regions)
        errors = probability - tf.cast(members, tf.float32)
        return errors**2 * (self._power(distances) + self._power(to_predicted))

    def _power(self, distances):
        finite = tf.math.is_finite(distances)
        distances = tf.abs(tf.where(finite, distances, tf.zeros_like(distances)))
        if self.alpha == 2:
            return distances * distances
        # A distance between pixels is above 0; 0 to the power of 0 would be 1.
        some = distances > 0
        return tf.where(some, tf.where(some, distances, tf.ones_like(distances)) ** self.alpha, 0.0)

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha}
