"""The tensors of nms and batched_nms in the types that both of their forms take."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from kseg_ops._checks import check_box_dtype
from kseg_ops._nms_arguments import class_ids_as_int32
from kseg_ops._tensors import to_int32, to_int64


def as_boxes(value) -> tf.Tensor:
    """Boxes as a float32 tensor."""
    dtype = tf.as_dtype(value.dtype) if hasattr(value, "dtype") else tf.float32
    check_box_dtype(dtype.name)
    if dtype == tf.float32 or not tf.is_tensor(value):
        return tf.convert_to_tensor(value, tf.float32)
    return tf.cast(value, tf.float32)


def as_scores(value) -> tf.Tensor:
    """Scores as a float32 tensor; floating types only."""
    if not hasattr(value, "dtype"):
        return tf.convert_to_tensor(value, tf.float32)
    scores = tf.convert_to_tensor(value)
    if not scores.dtype.is_floating:
        raise TypeError(f"scores must be floating, got {scores.dtype.name}")
    return tf.cast(scores, tf.float32)


def as_class_ids(value) -> tf.Tensor:
    """Class ids as an int32 tensor. Ids beyond int32: ValueError, or InvalidArgumentError if known at run time only."""
    if not tf.is_tensor(value) and isinstance(value, (list, tuple, np.ndarray)):
        return tf.convert_to_tensor(class_ids_as_int32(value))
    ids = tf.convert_to_tensor(value)
    if not ids.dtype.is_integer:
        raise TypeError(f"class_ids must be integers, got {ids.dtype.name}")
    if ids.dtype == tf.int32 or ids.dtype.size < 4:
        return to_int32(ids)
    known = tf.get_static_value(ids)
    if known is not None:
        return tf.convert_to_tensor(class_ids_as_int32(known))
    narrow = to_int32(ids)
    message = f"class_ids must be in {tf.int32.min}..{tf.int32.max}"
    same = tf.debugging.assert_equal(tf.cast(narrow, tf.int64), to_int64(ids), message=message)
    with tf.control_dependencies([] if same is None else [same]):
        return tf.identity(narrow)
