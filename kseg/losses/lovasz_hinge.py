"""Lovász hinge loss."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg.losses.class_mean_loss import ClassMeanLoss
from kseg.losses.jaccard_extension import as_rows, jaccard_extension, rows_of_truth
from kseg.losses.targets import full_size_logits, valid_weights


@keras.saving.register_keras_serializable(package="kseg")
class LovaszHinge(ClassMeanLoss):
    """The Lovász extension of the foreground's Jaccard loss at the hinge errors of the logits, for two classes.

    The error of a valid pixel is `max(0, 1 - s * z)`, with z the logit of foreground (against background) and s = 1
    where the label is foreground, -1 where it is background. Sources: Yu, Blaschko: "The Lovász Hinge: A Novel Convex
    Surrogate for Submodular Losses", 2015, https://arxiv.org/abs/1512.07797; Berman, Triki, Blaschko 2018,
    https://arxiv.org/abs/1705.08790. It is convex in the logits, 0 once every pixel is right by a margin
    of 1, and unbounded, unlike `LovaszSoftmax`, which also serves more than two classes. Its cost is that of one class
    there.

    Args:
        ignore_index: the label of void pixels, any int, or None if there are none. They are left out exactly.
        absent: what a batch (or image) without foreground adds. `"count"`, as in the paper's code: the formula, which
            is the largest error of any pixel; `"skip"`: it does not count; `"one"`: it counts with loss 0.
        per_image: False: over all pixels of the batch; True: one loss per image, then the mean.
        reduction: as in `Dice`.
        name: as in Keras.

    Call arguments:
        y_true: labels 0, 1 and void, `(B, H, W)` or `(B, H, W, 1)`, integers or floats that are whole.
        y_pred: logits `(B, H, W, 1)`, or `(B, H, W, 2)`, of which z is the second minus the first. Logits of a smaller
            height or width are upsampled.
        sample_weight: as in `LovaszSoftmax`.

    Returns:
        float32. A batch of void pixels only has loss 0.

    Raises:
        ValueError: logits of more than two classes; an argument outside its range; sizes that do not fit.
        tf.errors.InvalidArgumentError: a label outside the range (not under XLA: see `SegmentationLoss`).
    """

    def __init__(
        self,
        ignore_index=255,
        absent="count",
        per_image=False,
        reduction="sum_over_batch_size",
        name="lovasz_hinge",
    ):
        # Background has no part in the mean over classes.
        super().__init__(ignore_index, absent, (0.0, 1.0), per_image, reduction, name)

    def class_losses(self, targets, sample_weight):
        if targets.num_classes > 2:
            raise ValueError(
                f"LovaszHinge takes logits of one or two classes; got {targets.num_classes}. Use LovaszSoftmax, or "
                "one LovaszHinge per class"
            )
        logits = full_size_logits(targets)
        if logits.shape[-1] == 2:
            logits = logits[..., 1:] - logits[..., :1]
        logits = as_rows(logits, self.per_image)
        truth, weight = rows_of_truth(targets, valid_weights(targets, sample_weight), [1], self.per_image)
        foreground = jaccard_extension(tf.nn.relu(1 - tf.where(truth, logits, -logits)), truth, weight)
        nothing = tf.zeros_like(weight)
        labelled = [tf.reduce_sum(tf.where(truth, *pair), -1) for pair in ((nothing, weight), (weight, nothing))]
        pairs = tf.stack([tf.zeros_like(foreground), foreground], -1), tf.stack(labelled, -1)
        return pairs if self.per_image else tuple(tf.squeeze(pair, 0) for pair in pairs)

    def get_config(self):
        config = super().get_config()
        del config["class_weights"]
        return config
