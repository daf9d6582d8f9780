"""Arguments to the types that the ops take: boxes, and integers without wrapping round."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops._checks import check_box_dtype


def to_boxes(value) -> tf.Tensor:
    """Box coordinates as float32; TypeError for dtypes that cannot hold them."""
    dtype = tf.as_dtype(value.dtype) if hasattr(value, "dtype") else tf.float32
    check_box_dtype(dtype.name)
    if dtype == tf.float32 or not tf.is_tensor(value):
        return tf.convert_to_tensor(value, tf.float32)
    return tf.cast(value, tf.float32)


def to_int64(tensor: tf.Tensor) -> tf.Tensor:
    """An integer or bool tensor as int64; what uint64 holds beyond that becomes the largest int64."""
    wide = tf.cast(tensor, tf.int64)
    # Not by clipping before the cast: not every release has that for unsigned types.
    return tf.where(wide < 0, tf.int64.max, wide) if tensor.dtype == tf.uint64 else wide


def to_int32(tensor: tf.Tensor) -> tf.Tensor:
    """An integer tensor as int32, saturated."""
    if tensor.dtype == tf.int32:
        return tensor
    if tensor.dtype.size < 4:
        return tf.cast(tensor, tf.int32)
    return tf.cast(tf.clip_by_value(to_int64(tensor), tf.int32.min, tf.int32.max), tf.int32)
