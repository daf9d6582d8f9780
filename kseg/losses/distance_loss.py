"""What the losses made of distances between pixels and classes have in common."""

from __future__ import annotations

import tensorflow as tf

from kseg.losses.class_distances import check_spacing, members_of, signed_distances
from kseg.losses.class_mean_loss import check_absent, mean_class_weights
from kseg.losses.segmentation_loss import SegmentationLoss
from kseg.losses.targets import class_probabilities
from kseg.metrics.native_steps import metric_ops


class DistanceLoss(SegmentationLoss):
    """Base class of losses per pixel that are means over classes: a subclass says what a pixel costs for each class.

    Args:
        spacing: see `Boundary`.
        ignore_index, absent, class_weights, reduction, name: see `Boundary`.
    """

    def __init__(self, spacing, ignore_index, absent, class_weights, reduction, name):
        super().__init__(ignore_index, class_weights, reduction, name)
        check_spacing(spacing)
        self.spacing = spacing
        self.absent = check_absent(absent)

    def class_costs(self, targets, probability, members, distances):
        """What each pixel costs for each class.

        Args:
            targets: `kseg.losses.targets.Targets`.
            probability: float32 `(B, H, W, C)`, C = 2 in the sigmoid case.
            members: bool of that shape: the valid pixels of each class.
            distances: float32 of that shape, `class_distances.signed_distances` to the labels' classes.

        Returns:
            float32 of that shape, finite.
        """
        raise NotImplementedError

    def distances(self, classes, members):
        """`class_distances.signed_distances` with the loss's spacing, by the op that may run here."""
        with metric_ops():
            return signed_distances(classes, members, check_spacing(self.spacing))

    def pixel_loss(self, targets):
        members = members_of(targets.labels, targets.valid, targets.num_classes)
        distances = targets.distance_maps
        if distances is None:
            distances = self.distances(targets.labels, members)
        costs = self.class_costs(targets, class_probabilities(targets), members, distances)
        return tf.reduce_sum(costs * self._class_shares(targets, members)[:, tf.newaxis, tf.newaxis], -1)

    def _class_shares(self, targets, members):
        """What each class of each image counts in the mean over classes, `(B, C)`, of sum 1 or all 0."""
        present = tf.reduce_any(members, axis=[1, 2])
        weights = tf.broadcast_to(mean_class_weights(self.class_weights, targets), tf.shape(present))
        of_present = tf.where(present, weights, tf.zeros_like(weights))
        total = tf.reduce_sum(of_present if self.absent == "skip" else weights, -1, keepdims=True)
        return tf.math.divide_no_nan(weights if self.absent == "count" else of_present, total)

    def class_weight_map(self, targets):
        """None: the class weights are those of the mean over classes."""
        del targets

    def get_config(self):
        return {**super().get_config(), "absent": self.absent, "spacing": self.spacing}
