"""Soft Dice loss."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg.losses.region_loss import RegionLoss


@keras.saving.register_keras_serializable(package="kseg")
class Dice(RegionLoss):
    """One minus the soft Dice coefficient, averaged over classes.

    For each class, with g the one-hot label and p the softmax (or sigmoid) probability, summed over valid pixels:
    `1 - (2 * sum(p * g) + smooth) / (sum(p) + sum(g) + smooth)`. The denominators are not squared. Sources: Milletari,
    Navab, Ahmadi: "V-Net", 2016, https://arxiv.org/abs/1606.04797 (squared there); Drozdzal et al. 2016,
    https://arxiv.org/abs/1608.04117 (as here). Sums are float32 whatever the precision policy: half precision
    overflows at 65,504 pixels.

    There is no label smoothing: with labels between 0 and 1 this formula does not have its minimum where the
    probability equals the label. Add a smoothed `CrossEntropy` in a `WeightedSum` instead. The same holds for
    `Jaccard`, `Tversky`, `FocalTversky` and the Lovasz losses.

    Args:
        ignore_index: the label of void pixels, any int, or None if there are none. They enter no sum.
        absent: what a class without a single labelled pixel in the sums adds. (A softmax never predicts exactly 0, so
            absence is judged by the labels.) `"skip"`: nothing, the mean is over the classes present; `"one"`: it
            counts with Dice 1, so loss 0; `"count"`: the formula as it stands, which pushes the class's probability
            down (loss near 1 for any appreciable prediction).
        smooth: added to numerator and denominator; at least 0.
        class_weights: one weight per class in the mean over classes (two for single-channel logits, of which the
            first must then be what background counts; by default only the foreground counts there), or None.
        per_image: False: one Dice over the whole batch; True: one per image, averaged over the images in which some
            class counts.
        reduction: `"sum_over_batch_size"`: the mean; `"sum"`: over images; `"none"` or None: one value per image
            `(B,)` if `per_image`, else a scalar.
        name: as in Keras.

    Call arguments:
        y_true: labels `(B, H, W)` or `(B, H, W, 1)`, integers or floats that are whole.
        y_pred: logits `(B, H, W, C)`; C = 1 is the sigmoid case, whose Dice is the foreground's. Logits of a smaller
            height or width are upsampled within the loss: see `SegmentationLoss`.
        sample_weight: per image or per pixel; weights pixels inside the sums, so weight 0 is void. (With
            `per_image=True` a weight common to all pixels of an image cancels, but for `smooth`.)

    Returns:
        float32. A batch of void pixels only has loss 0.

    Raises:
        ValueError: an argument outside its range; sizes that do not fit.
        tf.errors.InvalidArgumentError: a label outside the range (not under XLA: see `SegmentationLoss`).
    """

    def __init__(
        self,
        ignore_index=255,
        absent="skip",
        smooth=1.0,
        class_weights=None,
        per_image=False,
        reduction="sum_over_batch_size",
        name="dice",
    ):
        super().__init__(ignore_index, absent, smooth, class_weights, per_image, reduction, name)

    def loss_of_sums(self, overlap, predicted, labelled):
        # divide_no_nan: with smooth=0 an absent class that is not predicted either has 0 / 0.
        return 1 - tf.math.divide_no_nan(2 * overlap + self.smooth, predicted + labelled + self.smooth)
