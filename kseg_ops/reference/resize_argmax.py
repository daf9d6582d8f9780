"""The specification of `kseg_ops.resize_argmax` in stock TensorFlow."""

from __future__ import annotations

import tensorflow as tf

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
    """
    logits = tf.ensure_shape(tf.cast(logits, tf.float32), [None, None, None, None])
    logits = tf.where(tf.math.is_nan(logits), -LARGEST, tf.clip_by_value(logits, -LARGEST, LARGEST))
    resized = _resize_aligned(logits, size) if align_corners else tf.image.resize(logits, size, "bilinear")
    return tf.argmax(resized, axis=-1, output_type=tf.int32)


def _resize_aligned(logits: tf.Tensor, size) -> tf.Tensor:
    size = tf.cast(size, tf.int64)
    for axis in (1, 2):
        lower, upper, lerp = _aligned_positions(tf.shape(logits, tf.int64)[axis], size[axis - 1])
        lerp = tf.reshape(lerp, [-1, 1, 1] if axis == 1 else [-1, 1])
        first = tf.gather(logits, lower, axis=axis)
        logits = first + (tf.gather(logits, upper, axis=axis) - first) * lerp
    return logits


def _aligned_positions(in_size: tf.Tensor, out_size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """For each output the two source pixels around it and the way from the first to the second, 0 to 1.

    Output `i` lies at `i * (in_size - 1) / (out_size - 1)`: a fraction, kept exact until its remainder is divided.
    """
    steps = tf.maximum(out_size - 1, 1)
    place = tf.range(out_size) * (in_size - 1)
    lower = place // steps
    lerp = tf.cast(place % steps, tf.float32) / tf.cast(steps, tf.float32)
    return lower, tf.minimum(lower + 1, in_size - 1), lerp
