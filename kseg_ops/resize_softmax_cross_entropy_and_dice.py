"""Softmax cross-entropy and the sums of the Dice loss in one sweep over small logits."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from kseg_ops import _library
from kseg_ops._resize_softmax import Settings, as_pixel_weights, check_arrays, gradient_of, labels_and_logits
from kseg_ops.reference.resize_softmax_cross_entropy import resize_softmax_cross_entropy_and_dice as _reference


class CrossEntropyAndDice(NamedTuple):
    """What `resize_softmax_cross_entropy_and_dice` returns; `p` is the probability of a class, `w` the pixel weight.

    Attributes:
        loss: `[B, H, W]`: the cross-entropy of each pixel; pixel weights have no part in it.
        overlap: `[B, classes]`: the sum of `w p` over the pixels of that true class.
        predicted: `[B, classes]`: the sum of `w p` over all pixels that are not void.
        labelled: `[B, classes]`: the sum of `w` over the pixels of that true class.
    """

    loss: tf.Tensor
    overlap: tf.Tensor
    predicted: tf.Tensor
    labelled: tf.Tensor


@tf.autograph.experimental.do_not_convert
def resize_softmax_cross_entropy_and_dice(
    labels,
    logits,
    pixel_weights=None,
    ignore_index: int | None = 255,
    class_weights=None,
    label_smoothing: float = 0.0,
    align_corners: bool = False,
) -> CrossEntropyAndDice:
    """`resize_softmax_cross_entropy`, and per image and class the sums of which Dice losses are made, in one sweep.

    The soft Dice coefficient of a class (Milletari et al. 2016, "V-Net") is `2 * overlap / (predicted + labelled)`, of
    an image or, summed over the batch, of the batch. Class weights and label smoothing act on the cross-entropy only.

    Args:
        labels: integer tensor `[B, H, W]`, as for `kseg_ops.resize_softmax_cross_entropy`.
        logits: `[B, h, w, C]`, as there. For `C = 1` the sums are those of background and foreground.
        pixel_weights: float32 `[B, H, W]`, or of extent 1 in any axis: what each pixel counts in the sums, for example
            sample weights. None: 1 each. They have no gradient.
        ignore_index: the label of void pixels, which enter no sum, or None.
        class_weights: one factor per class for the cross-entropy, or None.
        label_smoothing: in [0, 1), for the cross-entropy.
        align_corners: as there.

    Returns:
        `CrossEntropyAndDice`: the loss `[B, H, W]` and the sums `[B, C]` (`[B, 2]` for `C = 1`), float32 (float64 for
        float64 logits). The compiled form adds them up in double precision.

    Raises:
        As for `kseg_ops.resize_softmax_cross_entropy`; and ValueError or tf.errors.InvalidArgumentError for
        `pixel_weights` of another shape.

    Example:
        >>> logits = tf.constant([[[[2.0, 0.0], [0.0, 2.0]]]])
        >>> sums = kseg_ops.resize_softmax_cross_entropy_and_dice([[[0, 0, 1, 255]]], logits)
        >>> sums.labelled.numpy()
        array([[2., 1.]], dtype=float32)
        >>> [round(float(number), 3) for number in 2 * sums.overlap[0] / (sums.predicted + sums.labelled)[0]]
        [0.831, 0.69]
    """
    settings = Settings.checked(ignore_index, class_weights, label_smoothing, align_corners)
    labels, logits = labels_and_logits(
        "resize_softmax_cross_entropy_and_dice", labels, logits, pixel_weights=pixel_weights
    )
    check_arrays(labels, logits, settings)
    pixel_weights = as_pixel_weights(pixel_weights, labels)
    native = None
    if logits.dtype != tf.float64:
        native = _library.native_op("resize_softmax_cross_entropy_and_dice")
    if native is None:
        loss, sums = _reference(labels, logits, pixel_weights, *settings)
    else:
        loss, sums = native(labels=labels, logits=logits, pixel_weights=pixel_weights, **settings.attributes())
    return CrossEntropyAndDice(loss, *tf.unstack(sums, 3, axis=1))


@_library.register_gradient("Kseg>ResizeSoftmaxCrossEntropyAndDice")
def _gradient(op: tf.Operation, loss_gradient: tf.Tensor, sums_gradient: tf.Tensor):
    labels, logits, pixel_weights = op.inputs
    settings = Settings.of_op(op)
    native = _library.native_op("resize_softmax_cross_entropy_and_dice_grad")
    if native is not None:
        gradient = native(
            labels=labels,
            logits=logits,
            pixel_weights=pixel_weights,
            loss_gradient=loss_gradient,
            sums_gradient=sums_gradient,
            **settings.attributes(),
        )
    else:
        gradient = gradient_of(
            lambda logits: _reference(labels, logits, pixel_weights, *settings), logits, [loss_gradient, sums_gradient]
        )
    return [None, gradient, None]


_library.register_gradient("Kseg>ResizeSoftmaxCrossEntropyAndDiceGrad")(None)
