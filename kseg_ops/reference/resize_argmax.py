"""The specification of `kseg_ops.resize_argmax` in stock TensorFlow."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops.reference.interpolation import resize_bilinear

# Logits are clipped to this, so that differences of neighbours stay finite and no interpolated value is NaN.
LARGEST = 1e30


def resize_argmax(logits: tf.Tensor, size: tf.Tensor, align_corners: bool = False) -> tf.Tensor:
    """Resizes logits bilinearly and takes the argmax over classes.

    Args:
        logits: floating `[B, h, w, C]`.
        size: int32 `[2]`, the new height and width, or a pair of Python ints.
        align_corners: False for half-pixel centres (`tf.image.resize`), True for corner pixels that keep their centres.

    Returns:
        int32 `[B, H, W]`.

    Raises:
        tf.errors.InvalidArgumentError: a size below 1. Not under XLA, which drops assertions.
    """
    logits = tf.ensure_shape(tf.cast(logits, tf.float32), [None, None, None, None])
    logits = tf.where(tf.math.is_nan(logits), -LARGEST, tf.clip_by_value(logits, -LARGEST, LARGEST))
    size = tf.convert_to_tensor(size, tf.int32)
    check = tf.debugging.Assert(tf.reduce_all(size >= 1), ["size must be at least 1 x 1, got", size])
    with tf.control_dependencies([] if check is None else [check]):
        logits = tf.identity(logits)
    return tf.argmax(resize_bilinear(logits, size, align_corners), axis=-1, output_type=tf.int32)
