"""Focal Tversky loss."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg._class_arguments import is_finite_number
from kseg.losses.tversky import Tversky


@keras.saving.register_keras_serializable(package="kseg")
class FocalTversky(Tversky):
    """The Tversky loss of each class to a power, averaged over classes: `mean((1 - index) ** gamma)`.

    Source: Abraham, Khan: "A Novel Focal Tversky Loss Function with Improved Attention U-Net for Lesion
    Segmentation", 2019, https://arxiv.org/abs/1810.07842. The paper writes the exponent as `1 / gamma` with gamma = 4/3
    and calls the cost of false negatives alpha; here `gamma` is the exponent itself, and alpha and beta mean what
    they mean in `Tversky`. Its default values are the paper's.

    An exponent below 1 keeps the slope up where a class is nearly right; one above 1 lets such classes rest and favours
    the poor ones. A class whose loss is exactly 0 (as far as float32 tells) has no gradient.

    Args:
        gamma: the exponent, above 0.
        alpha: what false positives cost, as in `Tversky`.
        beta: what false negatives cost, as in `Tversky`.
        ignore_index: as in `Dice`.
        absent: as in `Dice`; `"one"` counts an absent class with index 1.
        smooth: added to numerator and denominator of the index; at least 0.
        class_weights: as in `Dice`.
        per_image: as in `Dice`.
        reduction: as in `Dice`.
        name: as in Keras.

    Call arguments and returned values: see `Dice`.

    Raises:
        ValueError: a gamma that is not above 0 or no finite number; and as `Tversky`.
    """

    def __init__(
        self,
        gamma=0.75,
        alpha=0.3,
        beta=0.7,
        ignore_index=255,
        absent="skip",
        smooth=1.0,
        class_weights=None,
        per_image=False,
        reduction="sum_over_batch_size",
        name="focal_tversky",
    ):
        super().__init__(alpha, beta, ignore_index, absent, smooth, class_weights, per_image, reduction, name)
        if not is_finite_number(gamma) or gamma <= 0:
            raise ValueError(f"gamma must be above 0; got {gamma!r}. Pass a finite number")
        self.gamma = gamma

    def loss_of_sums(self, overlap, predicted, labelled):
        loss = super().loss_of_sums(overlap, predicted, labelled)
        # A power below 1 has an infinite slope at 0, and is NaN a rounding below.
        some = loss > 0
        return tf.where(some, tf.where(some, loss, tf.ones_like(loss)) ** self.gamma, tf.zeros_like(loss))

    def get_config(self):
        return {**super().get_config(), "gamma": self.gamma}
