"""Tversky loss."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg._class_arguments import is_finite_number
from kseg.losses.region_loss import RegionLoss


@keras.saving.register_keras_serializable(package="kseg")
class Tversky(RegionLoss):
    """One minus the soft Tversky index, averaged over classes: a Dice loss that tells two kinds of errors apart.

    For each class, with g the one-hot label and p the softmax (or sigmoid) probability, over valid pixels:
    `1 - (TP + smooth) / (TP + alpha * FP + beta * FN + smooth)` with `TP = sum(p * g)`, false positives
    `FP = sum(p) - TP` and false negatives `FN = sum(g) - TP`. `alpha = beta = 0.5` is the Dice loss (with twice its
    `smooth`), `alpha = beta = 1` the Jaccard loss. Source: Salehi, Erdogmus, Gholipour: "Tversky loss function for
    image segmentation using 3D fully convolutional deep networks", 2017, https://arxiv.org/abs/1706.05721, which finds
    0.3 and 0.7 best for small lesions.

    Args:
        alpha: what false positives cost; at least 0.
        beta: what false negatives cost; at least 0. Larger than alpha, it raises recall at the expense of precision.
        ignore_index: as in `Dice`.
        absent: as in `Dice`; `"one"` counts an absent class with index 1.
        smooth: added to numerator and denominator; at least 0.
        class_weights: as in `Dice`.
        per_image: as in `Dice`.
        reduction: as in `Dice`.
        name: as in Keras.

    Call arguments and returned values: see `Dice`.

    Raises:
        ValueError: an alpha or beta that is negative or no finite number, or both 0; and as `Dice`.
    """

    def __init__(
        self,
        alpha=0.3,
        beta=0.7,
        ignore_index=255,
        absent="skip",
        smooth=1.0,
        class_weights=None,
        per_image=False,
        reduction="sum_over_batch_size",
        name="tversky",
    ):
        super().__init__(ignore_index, absent, smooth, class_weights, per_image, reduction, name)
        for argument, value in (("alpha", alpha), ("beta", beta)):
            if not is_finite_number(value) or value < 0:
                raise ValueError(f"{argument} must be at least 0; got {value!r}. Pass a finite number")
        if alpha == beta == 0:
            raise ValueError("alpha and beta must not both be 0: no error would cost anything")
        self.alpha = alpha
        self.beta = beta

    def loss_of_sums(self, overlap, predicted, labelled):
        errors = self.alpha * (predicted - overlap) + self.beta * (labelled - overlap)
        return 1 - tf.math.divide_no_nan(overlap + self.smooth, overlap + errors + self.smooth)

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha, "beta": self.beta}
