"""Soft Jaccard loss."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg.losses.region_loss import RegionLoss


@keras.saving.register_keras_serializable(package="kseg")
class Jaccard(RegionLoss):
    """One minus the soft Jaccard index (intersection over union), averaged over classes.

    For each class, with g the one-hot label and p the softmax (or sigmoid) probability, summed over valid pixels:
    `1 - (sum(p * g) + smooth) / (sum(p) + sum(g) - sum(p * g) + smooth)`. Source: Rahman and Wang: "Optimizing
    Intersection-Over-Union in Deep Neural Networks for Image Segmentation", 2016,
    https://doi.org/10.1007/978-3-319-50835-1_22. `LovaszSoftmax` extends the same measure from hard to soft
    predictions in another way, which is convex in the errors.

    Args:
        ignore_index: as in `Dice`.
        absent: as in `Dice`; `"one"` counts an absent class with Jaccard index 1.
        smooth: added to numerator and denominator; at least 0.
        class_weights: as in `Dice`.
        per_image: as in `Dice`.
        reduction: as in `Dice`.
        name: as in Keras.

    Call arguments, returned values and errors: see `Dice`.

    Example:
        >>> loss = Jaccard(smooth=0.0)
        >>> value = loss(np.array([[[0, 0, 1]]]), np.zeros((1, 1, 3, 2), "float32"))
        >>> round(float(value), 4)  # overlaps 1 and 1/2, unions 5/2 and 2
        0.675
    """

    def __init__(
        self,
        ignore_index=255,
        absent="skip",
        smooth=1.0,
        class_weights=None,
        per_image=False,
        reduction="sum_over_batch_size",
        name="jaccard",
    ):
        super().__init__(ignore_index, absent, smooth, class_weights, per_image, reduction, name)

    def loss_of_sums(self, overlap, predicted, labelled):
        return 1 - tf.math.divide_no_nan(overlap + self.smooth, predicted + labelled - overlap + self.smooth)
