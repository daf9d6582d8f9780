"""Softmax cross-entropy at full size from logits at a smaller one."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops import _library
from kseg_ops._resize_softmax import Settings, check_arrays, gradient_of, labels_and_logits, looks_even
from kseg_ops.reference.resize_softmax_cross_entropy import resize_softmax_cross_entropy as _reference


@tf.autograph.experimental.do_not_convert
def resize_softmax_cross_entropy(
    labels,
    logits,
    ignore_index: int | None = 255,
    class_weights=None,
    label_smoothing: float = 0.0,
    align_corners: bool = False,
) -> tf.Tensor:
    """The cross-entropy of each pixel for bilinearly resized logits, without the resized logits.

    Equals `tf.nn.sparse_softmax_cross_entropy_with_logits(labels, tf.image.resize(logits, labels.shape[1:]))` within
    rounding, value and gradient. Decoders that predict at a quarter of the image's size would otherwise write and read
    a float per class and pixel several times over: 157 MB each time for 150 classes at 512 x 512.

    Args:
        labels: integer tensor `[B, H, W]`: the true classes, each in `0..C-1` or equal `ignore_index`.
        logits: float32, float16, bfloat16 or float64 `[B, h, w, C]`, at least 1 x 1 pixels, smaller or larger than
            `labels` by any factors. `C = 1` is the sigmoid case: binary cross-entropy of the labels 0 and 1. Computed
            in float32 (float64 runs in the reference, in float64). Infinities count as +-1e30, to which values are
            clipped; a clipped logit has no gradient. A NaN makes NaN of the loss and the gradient at each pixel that is
            not void and interpolates from it; where its weight is 0 or rounds to 0, the compiled form and the reference
            may differ in whether it does.
        ignore_index: the label of void pixels: loss 0 and no gradient, whatever the logits there. Any integer, negative
            too; it wins over a class of the same number. None: no pixel is void.
        class_weights: one factor per class (two for `C = 1`), or None: the loss of a pixel is multiplied by that of its
            true class, after smoothing.
        label_smoothing: in [0, 1): this part of the target is spread evenly over all classes.
        align_corners: False for half-pixel centres, as `tf.image.resize` has them. True for corner pixels that keep
            their centres, as `torch.nn.functional.interpolate` does under this name. There is no antialiasing.

    Returns:
        `[B, H, W]`, at least 0: float32 (float64 for float64 logits).

    The gradient with respect to `logits` is deterministic in the compiled form: bitwise equal from run to run and for
    any number of threads. There is no second derivative in the compiled form.

    In a graph (`tf.function`, Keras' training) that differentiates it, float32 logits get their gradient in the sweep
    of the loss. It is held, in the size of the logits, until the backward pass multiplies it in place by what comes
    from above, if that is one number for each image (as after a mean or a sum; void pixels do not count). Else the
    gradient is computed then.

    Compiles under XLA where shapes are static; without XLA support (see `kseg.show_config`), call it within
    `with kseg_ops.use_reference():` there.

    Raises:
        TypeError: a dtype is not supported, an argument is not a number of its kind, or a tensor is a KerasTensor.
        ValueError: a static shape does not fit, or an argument is out of range.
        tf.errors.InvalidArgumentError: a label is out of range (the message names it), or shapes known only at run time
            do not fit. The reference under XLA, which drops assertions, takes such a pixel as void.

    Example:
        >>> logits = tf.constant([[[[2.0, 0.0], [0.0, 2.0]]]])
        >>> loss = kseg_ops.resize_softmax_cross_entropy([[[0, 0, 1, 255]]], logits)
        >>> [round(float(pixel), 3) for pixel in loss[0, 0]]
        [0.127, 0.313, 0.313, 0.0]
    """
    settings = Settings.checked(ignore_index, class_weights, label_smoothing, align_corners)
    labels, logits = labels_and_logits("resize_softmax_cross_entropy", labels, logits)
    check_arrays(labels, logits, settings)
    native = _library.native_op("resize_softmax_cross_entropy") if logits.dtype != tf.float64 else None
    if native is None:
        return _reference(labels, logits, *settings)
    if logits.dtype == tf.float32 and not tf.executing_eagerly():
        # A graph knows whether the gradient will be wanted, and computes it along with the loss only then.
        training = _library.native_op("resize_softmax_cross_entropy_training")
        return training(labels=labels, logits=logits, **settings.attributes()).loss
    return native(labels=labels, logits=logits, **settings.attributes())


@_library.register_gradient("Kseg>ResizeSoftmaxCrossEntropy")
def _resize_softmax_cross_entropy_gradient(op: tf.Operation, gradient: tf.Tensor):
    labels, logits = op.inputs
    settings = Settings.of_op(op)
    native = _library.native_op("resize_softmax_cross_entropy_grad")
    if native is not None:
        return [None, native(labels=labels, logits=logits, loss_gradient=gradient, **settings.attributes())]
    # The forward pass was native and this one is not to be, as in `with use_reference(): tape.gradient(...)`.
    return [None, gradient_of(lambda logits: _reference(labels, logits, *settings), logits, gradient)]


@_library.register_gradient("Kseg>ResizeSoftmaxCrossEntropyTraining")
def _training_gradient(op: tf.Operation, gradient: tf.Tensor, _):
    if not looks_even(gradient):  # then nothing uses the second output, and it is not computed
        return _resize_softmax_cross_entropy_gradient(op, gradient)
    labels, logits = op.inputs
    settings = Settings.of_op(op)
    native = _library.native_op("resize_softmax_cross_entropy_training_grad")
    if native is None:
        return _resize_softmax_cross_entropy_gradient(op, gradient)
    unit = op.outputs[1]
    result = native(labels=labels, logits=logits, unit_gradient=unit, loss_gradient=gradient, **settings.attributes())
    return [None, result]


for _op in ("Grad", "TrainingGrad"):
    _library.register_gradient(f"Kseg>ResizeSoftmaxCrossEntropy{_op}")(None)
