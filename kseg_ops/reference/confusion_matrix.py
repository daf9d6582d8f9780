"""The specification of `kseg_ops.confusion_matrix` in stock TensorFlow."""

from __future__ import annotations

import tensorflow as tf

_NONE_BAD = tf.int64.min  # stands for "no offending value" inside a maximum over offending values


def predicted_classes(logits: tf.Tensor, num_classes: int) -> tf.Tensor:
    """The winning class, int64: the lowest index of the largest logit, where NaN counts as -inf.

    Args:
        logits: floating `[..., num_classes]`; or `[..., 1]` for `num_classes=2`, where a logit above 0 means class 1.
        num_classes: number of classes.
    """
    if num_classes == 2:
        # A sigmoid logit is the second of two, the first being 0. Written so that the extent may be unknown here.
        extent = tf.shape(logits)[-1] if logits.shape[-1] is None else logits.shape[-1]
        logits = tf.concat([tf.zeros_like(logits)[..., : 2 - extent], logits], axis=-1)
    lowest = tf.constant(-float("inf"), logits.dtype)
    return tf.argmax(tf.where(tf.math.is_nan(logits), lowest, logits), axis=-1, output_type=tf.int64)


def confusion_matrix(
    labels: tf.Tensor, predictions: tf.Tensor, num_classes: int, ignore_index: int | None
) -> tf.Tensor:
    """Counts pairs of truth and prediction.

    Args:
        labels: integer, any shape `S`.
        predictions: floating logits `S + [num_classes]` (or `S + [1]` for two classes), or integer classes of shape
            `S`.
        num_classes: number of classes.
        ignore_index: label that is not counted, or None.

    Returns:
        int64 `[num_classes, num_classes]`, rows truth, columns prediction.

    Raises:
        tf.errors.InvalidArgumentError: at a label that is neither a class nor `ignore_index`, or at a predicted class
            out of range where the label is counted. Not under XLA, which drops assertions: such pixels are not counted.
    """
    labels = tf.cast(labels, tf.int64)
    checks = []
    if predictions.dtype.is_floating:
        extent = tf.shape(predictions)[-1]
        fits = tf.equal(extent, num_classes) | (tf.equal(extent, 1) & (num_classes == 2))
        checks.append(
            tf.debugging.Assert(fits, [f"the last axis of logits must be num_classes={num_classes}, got", extent])
        )
        checks.append(_assert_shape(tf.shape(predictions)[:-1], tf.shape(labels), "logits without their last axis"))
    else:
        checks.append(_assert_shape(tf.shape(predictions), tf.shape(labels), "integer predictions"))
    # Before anything else runs: an operation on shapes that do not fit would fail in words of its own.
    with tf.control_dependencies([check for check in checks if check is not None]):
        labels, predictions = tf.identity(labels), tf.identity(predictions)
    if predictions.dtype.is_floating:
        classes = predicted_classes(predictions, num_classes)
    else:
        classes = tf.cast(predictions, tf.int64)

    checks = []
    known = _is_class(labels, num_classes)
    ignored = tf.zeros_like(known) if ignore_index is None else tf.equal(labels, ignore_index)
    counted = known & ~ignored
    in_range = counted & _is_class(classes, num_classes)
    checks.append(
        _assert_none(
            ~(known | ignored),
            labels,
            f"labels must be in 0..{num_classes - 1} or equal ignore_index={ignore_index}, got",
        )
    )
    if not predictions.dtype.is_floating:
        checks.append(
            _assert_none(
                counted & ~in_range,
                classes,
                f"predicted classes must be in 0..{num_classes - 1} where the label is counted, got",
            )
        )
    with tf.control_dependencies([check for check in checks if check is not None]):
        # One bin past the matrix takes the pixels that do not count, so that no dynamic shape is needed.
        cells = num_classes * num_classes
        bins = tf.where(in_range, labels * num_classes + classes, cells)
    bins = tf.reshape(tf.cast(bins, tf.int32), [-1])
    counts = tf.math.unsorted_segment_sum(tf.ones_like(bins, tf.int64), bins, cells + 1)
    return tf.reshape(counts[:cells], [num_classes, num_classes])


def _is_class(values: tf.Tensor, num_classes: int) -> tf.Tensor:
    return (values >= 0) & (values < num_classes)


def _assert_shape(shape: tf.Tensor, expected: tf.Tensor, what: str):
    return tf.debugging.assert_equal(shape, expected, message=f"{what} must have the shape of labels")


def _assert_none(bad: tf.Tensor, values: tf.Tensor, message: str):
    offender = tf.reduce_max(tf.where(bad, values, _NONE_BAD))
    return tf.debugging.Assert(tf.logical_not(tf.reduce_any(bad)), [message, offender])
