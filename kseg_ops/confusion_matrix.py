"""The confusion matrix of a segmentation, in one pass over the logits."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops import _library
from kseg_ops._checks import MAX_CLASSES, as_ignore_index, as_int, reject_keras_tensors
from kseg_ops._tensors import to_int64
from kseg_ops.reference.confusion_matrix import confusion_matrix as _reference

_NATIVE_INTEGERS = (tf.uint8, tf.int8, tf.uint16, tf.int32, tf.int64)
_OTHER_INTEGERS = {tf.bool: tf.uint8, tf.int16: tf.int32, tf.uint32: tf.int64}
_FLOATS = (tf.float32, tf.float16, tf.bfloat16, tf.float64)


@tf.autograph.experimental.do_not_convert
def confusion_matrix(labels, logits_or_labels, num_classes: int, ignore_index: int | None = 255) -> tf.Tensor:
    """Counts how often each true class was predicted as each class.

    From logits, the argmax over classes, the ignore mask and the count happen in one pass over memory.

    Args:
        labels: integer (or bool) tensor of any shape `S`: the true classes. Every value must be in `0..num_classes-1`
            or equal `ignore_index`.
        logits_or_labels: the prediction. Either floating logits of shape `S + [num_classes]` (float32, float16,
            bfloat16 or float64), of which the largest wins, the lowest index among equals, and NaN counts as -inf; or
            integer classes of shape `S`, which must be in `0..num_classes-1` wherever the label is counted. With
            `num_classes=2`, logits of shape `S + [1]` are those of a sigmoid: class 1 where the logit is above 0.
        num_classes: number of classes, 1 to 16384.
        ignore_index: label of the pixels that are not counted (void); any integer, negative too. It wins over a class
            of the same number. None counts everything.

    Returns:
        int64 tensor `[num_classes, num_classes]`, rows truth, columns prediction; exact.

    Raises:
        TypeError: `labels` is not integer, the prediction is neither floating nor integer, or one of them is a
            KerasTensor.
        ValueError: static shapes do not fit, or `num_classes` is out of range.
        tf.errors.InvalidArgumentError: a label or a counted predicted class is out of range (the message names one), or
            shapes known only at run time do not fit. The reference under XLA, which drops assertions, leaves such
            pixels out of the count instead.

    The op has no gradient.

    Compiles under XLA where shapes are static; without XLA support (see `kseg.show_config`), call it within
    `with kseg_ops.use_reference():` there.

    Example:
        >>> labels = tf.constant([[0, 1, 255, 1]])
        >>> logits = tf.constant([[[2.0, 1.0], [0.0, 3.0], [9.0, 0.0], [1.0, 0.5]]])
        >>> kseg_ops.confusion_matrix(labels, logits, num_classes=2).numpy()
        array([[1, 0],
               [1, 1]])
    """
    reject_keras_tensors(
        "confusion_matrix",
        "a metric such as kseg.metrics.MeanIoU or kseg.metrics.ConfusionMatrix in model.compile(metrics=[...])",
        labels=labels,
        logits_or_labels=logits_or_labels,
    )
    num_classes = as_int("num_classes", num_classes, 1, MAX_CLASSES)
    ignore_index = as_ignore_index(ignore_index)
    labels = _integers("labels", tf.convert_to_tensor(labels), "an integer tensor")
    predictions = tf.convert_to_tensor(logits_or_labels)
    if predictions.dtype not in _FLOATS:
        predictions = _integers("logits_or_labels", predictions, "floating logits or integer classes")
    _check_static_shapes(labels.shape, predictions.shape, predictions.dtype.is_floating, num_classes)

    native = _library.native_op("confusion_matrix")
    if native is None:
        return _reference(labels, predictions, num_classes, ignore_index)
    return native(
        labels=labels,
        predictions=predictions,
        num_classes=num_classes,
        ignore_index=0 if ignore_index is None else ignore_index,
        has_ignore_index=ignore_index is not None,
    )


def _integers(name: str, tensor: tf.Tensor, expected: str) -> tf.Tensor:
    if tensor.dtype in _NATIVE_INTEGERS:
        return tensor
    if tensor.dtype == tf.uint64:
        return to_int64(tensor)
    if tensor.dtype in _OTHER_INTEGERS:
        return tf.cast(tensor, _OTHER_INTEGERS[tensor.dtype])
    raise TypeError(f"{name} must be {expected}, got dtype {tensor.dtype.name}")


def _check_static_shapes(labels: tf.TensorShape, predictions: tf.TensorShape, logits: bool, num_classes: int) -> None:
    if not logits:
        if not predictions.is_compatible_with(labels):
            raise ValueError(f"integer predictions must have the shape of labels, {labels}, got {predictions}")
        return
    if predictions.rank == 0:
        raise ValueError("logits must have a last axis of classes, got a scalar")
    if predictions.rank is None:
        return
    classes = predictions[-1]
    if not (classes is None or classes == num_classes or (classes == 1 and num_classes == 2)):
        hint = " (or 1: a sigmoid logit)" if num_classes == 2 else ""
        raise ValueError(f"the last axis of logits must be num_classes={num_classes}{hint}, got shape {predictions}")
    if not predictions[:-1].is_compatible_with(labels):
        raise ValueError(
            f"logits must have the shape of labels plus a last axis of classes: {labels} + [{num_classes}], "
            f"got {predictions}"
        )


_library.register_gradient("Kseg>ConfusionMatrix")(None)
