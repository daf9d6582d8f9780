"""Boundary loss."""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from kseg.losses.class_distances import check_spacing
from kseg.losses.distance_loss import DistanceLoss


@keras.saving.register_keras_serializable(package="kseg")
class Boundary(DistanceLoss):
    """The probability of each class times the signed distance to the region labelled so, averaged over pixels.

    `mean over valid pixels of mean over classes of phi * p`, with p the softmax (or sigmoid) probability of the class
    and phi the distance to its region: outside of it, to its nearest pixel; inside, minus the distance to the nearest
    valid pixel of another class. Source: Kervadec, Bouchtiba, Desrosiers, Granger, Dolz, Ben Ayed: "Boundary loss for
    highly unbalanced segmentation", 2019, https://arxiv.org/abs/1812.07032. (The authors' code takes one pixel less
    inside, so that the innermost row of boundary pixels is at 0.) It is linear in the probabilities, can be
    negative, and has slopes that grow with the distance: the paper adds it to a region loss with a small weight,
    for example `WeightedSum([Dice(), Boundary()], [1.0, 0.01])`.

    Void pixels belong to no region: the distances are those between valid pixels, across void ones.

    **Cost.** One distance transform per image and class, of the labels. `kseg_ops.distance_transform` takes time
    linear in the number of pixels; where the compiled op cannot run (in steps that XLA compiles, with a visible GPU,
    in graphs outside `kseg.metrics.native_steps()`), its reference does, whose time grows with the largest distance
    too. `with_distance_maps` moves the distances into the input pipeline.

    Args:
        spacing: the distance between neighbouring pixels, in whatever unit: a number, or a pair of them for rows and
            columns. Not used where the labels bring their maps.
        ignore_index: the label of void pixels, any int, or None if there are none.
        absent: what a class adds in an image that has none of it. `"skip"`: nothing, the mean is over the classes
            present in the image; `"one"`: it counts with cost 0; `"count"`: all pixels count as being the diagonal of
            the image away from it, which pushes its probability down. (A class that an image is full of has no
            boundary, and cost 0.)
        class_weights: one weight per class in the mean over classes (two for single-channel logits; by default only
            the foreground counts there), or None. The paper leaves background out, with weight 0.
        reduction: as in `SegmentationLoss`.
        name: as in Keras.

    Call arguments:
        y_true: labels `(B, H, W)` or `(B, H, W, 1)`, or what `with_distance_maps` made of them.
        y_pred: logits `(B, H, W, C)`; C = 1 is the sigmoid case. Logits of a smaller height or width are upsampled.
        sample_weight: per image or per pixel; factors of the pixels' costs. It does not change the distances.

    Returns:
        float32. A batch of void pixels only has loss 0.

    Raises:
        ValueError: an argument outside its range; sizes that do not fit.
        tf.errors.InvalidArgumentError: a label outside the range (not under XLA: see `SegmentationLoss`).

    Example:
        >>> loss = Boundary(class_weights=[0, 1])
        >>> value = loss(np.array([[[1, 0, 0]]]), np.zeros((1, 1, 3, 2), "float32"))
        >>> float(value)  # distances -1, 1, 2 and probabilities 1/2
        0.3333333432674408
    """

    def __init__(
        self,
        spacing=1.0,
        ignore_index=255,
        absent="skip",
        class_weights=None,
        reduction="sum_over_batch_size",
        name="boundary",
    ):
        super().__init__(spacing, ignore_index, absent, class_weights, reduction, name)

    def class_costs(self, targets, probability, members, distances):
        spacing = check_spacing(self.spacing)
        height, width = (tf.cast(tf.shape(members)[axis], tf.float32) for axis in (1, 2))
        diagonal = tf.sqrt((height * spacing[0]) ** 2 + (width * spacing[1]) ** 2)
        far = tf.where(tf.equal(distances, math.inf), diagonal, tf.zeros_like(distances))
        return tf.where(tf.math.is_finite(distances), distances, far) * probability
