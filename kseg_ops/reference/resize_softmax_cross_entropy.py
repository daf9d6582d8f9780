"""The specification of `kseg_ops.resize_softmax_cross_entropy`, and of its Dice sums, in stock TensorFlow."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops.reference.interpolation import resize_bilinear

# Logits are clipped to this, so that differences of neighbours stay finite: an infinite one is a number, not NaN.
LARGEST = 1e30


def resize_softmax_cross_entropy(
    labels: tf.Tensor,
    logits: tf.Tensor,
    ignore_index: int | None = 255,
    class_weights: tuple[float, ...] | None = None,
    label_smoothing: float = 0.0,
    align_corners: bool = False,
) -> tf.Tensor:
    """Upsamples logits bilinearly, then takes the cross-entropy of each pixel.

    Args:
        labels: integer `[B, H, W]`.
        logits: floating `[B, h, w, C]`; `C = 1` is the sigmoid case: classes 0 and 1 with the logits 0 and `logit`.
        ignore_index: the label of void pixels, or None.
        class_weights: a factor for the loss of each true class, or None.
        label_smoothing: the part of the target that is spread evenly over all classes.
        align_corners: False for half-pixel centres (`tf.image.resize`), True for corner pixels that keep their centres.

    Returns:
        `[B, H, W]`, 0 at void pixels: float32, or float64 for float64 logits, where positions are float64 too.

    Raises:
        tf.errors.InvalidArgumentError: at a label that is neither a class nor `ignore_index`. Not under XLA, which
            drops assertions: such pixels are void.
    """
    labels, valid, resized = _prepare(labels, logits, ignore_index, align_corners)
    return _cross_entropy(labels, valid, resized, class_weights, label_smoothing)


def resize_softmax_cross_entropy_and_dice(
    labels: tf.Tensor,
    logits: tf.Tensor,
    pixel_weights: tf.Tensor,
    ignore_index: int | None = 255,
    class_weights: tuple[float, ...] | None = None,
    label_smoothing: float = 0.0,
    align_corners: bool = False,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The cross-entropy, and the sums of which Dice losses are made.

    Args:
        labels: integer `[B, H, W]`.
        logits: as above.
        pixel_weights: `[B, H, W]`, or of extent 1 in any axis: what each pixel counts in the sums. No gradient.
        ignore_index: the label of void pixels, or None.
        class_weights: a factor of each true class for the loss, or None.
        label_smoothing: as above.
        align_corners: as above.

    Returns:
        The loss `[B, H, W]`, and sums `[B, 3, classes]` over the pixels that are not void, with the probability p, the
        one-hot label g and the pixel weight w: of `w p g`, `w p` and `w g`.
    """
    labels, valid, resized = _prepare(labels, logits, ignore_index, align_corners)
    loss = _cross_entropy(labels, valid, resized, class_weights, label_smoothing)
    weights = tf.where(valid, tf.cast(tf.stop_gradient(pixel_weights), resized.dtype), tf.zeros([], resized.dtype))
    weights = weights[..., tf.newaxis]
    probability = tf.nn.softmax(resized)
    truth = tf.one_hot(labels, tf.shape(resized)[-1], dtype=resized.dtype) * weights
    sums = [tf.reduce_sum(values, [1, 2]) for values in (probability * truth, probability * weights, truth)]
    return loss, tf.stack(sums, axis=1)


def _prepare(labels, logits, ignore_index, align_corners):
    """Labels (0 at void pixels), which pixels are not void, and upsampled logits of all classes (0 at void pixels)."""
    logits = tf.ensure_shape(logits, [None] * 4)
    labels = tf.ensure_shape(labels, [None] * 3)
    batch = tf.debugging.assert_equal(
        tf.shape(labels)[0], tf.shape(logits)[0], message="labels must have the batch size of logits"
    )
    with tf.control_dependencies([] if batch is None else [batch]):
        logits = tf.cast(logits, tf.float64 if logits.dtype == tf.float64 else tf.float32)
    # Not clip_by_value: a NaN stays NaN.
    largest = tf.constant(LARGEST, logits.dtype)
    logits = tf.where(logits > largest, largest, tf.where(logits < -largest, -largest, logits))
    if logits.shape[-1] in (None, 1):  # the first class of a sigmoid has the logit 0
        classes = None if logits.shape[-1] is None else 2
        missing = tf.cast(tf.equal(tf.shape(logits)[-1], 1), tf.int32)
        logits = tf.concat([tf.zeros_like(logits)[..., :missing], logits], axis=-1)
        logits = tf.ensure_shape(logits, [*logits.shape[:3], classes])
    labels, valid = _valid_labels(labels, tf.shape(logits)[-1], ignore_index)
    size, resized = labels.shape[1:3], logits
    # Not by tf.cond where sizes are unknown: XLA wants branches of one size.
    if not size.is_fully_defined() or logits.shape[1:3] != size:
        size = size if size.is_fully_defined() else tf.shape(labels)[1:3]
        resized = resize_bilinear(logits, size, align_corners)
    # Void pixels must not hand back NaN: a softmax of NaN would, even times 0.
    return labels, valid, tf.where(valid[..., tf.newaxis], resized, tf.zeros_like(resized))


def _valid_labels(labels, classes, ignore_index):
    known = (labels >= 0) & (tf.cast(labels, tf.int64) < tf.cast(classes, tf.int64))
    if ignore_index is None or not labels.dtype.min <= ignore_index <= labels.dtype.max:
        void = tf.zeros_like(known)
    else:
        void = tf.equal(labels, tf.constant(ignore_index, labels.dtype))
    bad = ~(known | void)
    # No string is formatted here: XLA drops assertions, but refuses to compile string operations.
    wide = tf.cast(labels, tf.int64)
    offender = tf.reduce_max(tf.where(bad, wide, tf.int64.min))
    check = tf.debugging.Assert(
        tf.logical_not(tf.reduce_any(bad)),
        [f"labels must be classes, 0..C-1, or equal ignore_index={ignore_index}, got", offender],
    )
    with tf.control_dependencies([] if check is None else [check]):
        valid = known & ~void
    return tf.cast(tf.where(valid, wide, 0), tf.int32), valid


def _cross_entropy(labels, valid, resized, class_weights, label_smoothing):
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, resized)
    if label_smoothing:
        uniform = -tf.reduce_mean(tf.nn.log_softmax(resized), axis=-1)
        loss = (1 - label_smoothing) * loss + label_smoothing * uniform
    if class_weights is not None:
        loss *= tf.gather(tf.constant(class_weights, loss.dtype), labels)
    return tf.where(valid, loss, tf.zeros_like(loss))
