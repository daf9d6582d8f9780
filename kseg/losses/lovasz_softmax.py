"""Lovász-softmax loss."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg.losses.class_mean_loss import ClassMeanLoss
from kseg.losses.jaccard_extension import as_rows, jaccard_extension, of_rows, rows_of_truth
from kseg.losses.targets import class_probabilities, valid_weights


@keras.saving.register_keras_serializable(package="kseg")
class LovaszSoftmax(ClassMeanLoss):
    """The Lovász extension of the Jaccard loss at the errors of the probabilities, averaged over classes.

    For each class, the error of a valid pixel is `1 - p` where the label is that class and p elsewhere, with p the
    softmax (or sigmoid) probability. The Lovász extension of the Jaccard loss at these errors is convex in them and
    equals one minus the intersection over union wherever all of them are 0 or 1. Source: Berman, Triki, Blaschko: "The
    Lovász-Softmax loss: A tractable surrogate for the optimization of the intersection-over-union measure in neural
    networks", 2018, https://arxiv.org/abs/1705.08790. The paper trains with it alone, with cross-entropy first, or with
    a sum of both.

    It sorts the errors of each class: per step and class about `N log N` for N pixels, and some ten numbers of 4 or 8
    bytes for every pixel and class. Logits smaller than the labels are upsampled in full.

    Args:
        ignore_index: the label of void pixels, any int, or None if there are none. They are left out exactly.
        absent: what a class without a labelled pixel adds. `"skip"`: nothing (the paper's classes "present"); `"one"`:
            it counts with loss 0; `"count"`: the formula as it stands (classes "all"), which is the largest
            probability that any pixel gives to the class.
        class_weights: one weight per class in the mean over classes (two for single-channel logits; by default only the
            foreground counts there), or None.
        per_image: False: over all pixels of the batch; True: one loss per image, averaged over the images in which
            some class counts, which follows a measure that is averaged over images.
        reduction: as in `Dice`.
        name: as in Keras.

    Call arguments:
        y_true: labels `(B, H, W)` or `(B, H, W, 1)`, integers or floats that are whole.
        y_pred: logits `(B, H, W, C)`; C = 1 is the sigmoid case, whose loss is the foreground's.
        sample_weight: per image or per pixel, at least 0: the sizes of the sets in the intersection and the union are
            sums of these weights. Weight 0 is void; a weight common to all pixels cancels.

    Returns:
        float32. A batch of void pixels only has loss 0.

    Raises:
        ValueError: an argument outside its range; sizes that do not fit.
        tf.errors.InvalidArgumentError: a label outside the range (not under XLA: see `SegmentationLoss`).

    Example:
        >>> loss = LovaszSoftmax()
        >>> value = loss(np.array([[[0, 0, 1]]]), np.zeros((1, 1, 3, 2), "float32"))
        >>> round(float(value), 4)  # all errors are 1/2
        0.5
    """

    def __init__(
        self,
        ignore_index=255,
        absent="skip",
        class_weights=None,
        per_image=False,
        reduction="sum_over_batch_size",
        name="lovasz_softmax",
    ):
        super().__init__(ignore_index, absent, class_weights, per_image, reduction, name)

    def class_losses(self, targets, sample_weight):
        classes = targets.num_classes
        weight = valid_weights(targets, sample_weight)
        truth, weight = rows_of_truth(targets, weight, range(classes), self.per_image)
        probability = as_rows(class_probabilities(targets), self.per_image)
        losses = jaccard_extension(tf.where(truth, 1 - probability, probability), truth, weight)
        labelled = tf.reduce_sum(tf.where(truth, weight, tf.zeros_like(weight)), -1)
        return of_rows(losses, classes, self.per_image), of_rows(labelled, classes, self.per_image)
