"""Arguments to the types that the ops take: boxes, integers without wrapping round; and shapes told at run time."""

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


def axis_size(tensor: tf.Tensor, axis: int) -> int | tf.Tensor:
    """The size of an axis: an int where it is known; -1, at run time, for a tensor that has no such axis."""
    size = None if tensor.shape.rank is None else tensor.shape[axis]
    return tf.concat([tf.shape(tensor), [-1] * (axis + 1)], 0)[axis] if size is None else size


def with_shape(value: tf.Tensor, expected: list[int | tf.Tensor], message: str) -> tf.Tensor:
    """`value`; InvalidArgumentError at run time unless it has the `expected` shape.

    Static shapes are left to the caller. Ops that take an empty tensor for none need this: they cannot tell it from one
    that came in empty. Stock operations do, for they broadcast axes of size 1.
    """
    known = [None if tf.is_tensor(size) else size for size in expected]
    if value.shape.is_fully_defined() and value.shape == known:
        return value
    # -1 behind either: shapes of other ranks do not broadcast.
    rank = len(expected)
    shape = tf.concat([tf.shape(value), [-1] * (rank + 1)], 0)[: rank + 1]
    same = tf.debugging.assert_equal(shape, tf.stack([*expected, -1]), message=message)
    with tf.control_dependencies([] if same is None else [same]):
        value = tf.identity(value)
    # Not tf.ensure_shape, whose own error, without the name, could come first.
    value.set_shape(known)
    return value
