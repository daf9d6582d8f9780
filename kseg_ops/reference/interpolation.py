"""Bilinear interpolation in stock TensorFlow, right under XLA as well."""

from __future__ import annotations

import tensorflow as tf


def resize_bilinear(values: tf.Tensor, size, align_corners: bool = False) -> tf.Tensor:
    """Maps `[B, h, w, C]` at another size, interpolated between pixel centres; no antialiasing.

    By gathers, because XLA compiles TensorFlow's `ResizeBilinear` wrongly: an output that lies exactly on a pixel of
    the source, as the middle one from 5 to 9 pixels does, may come out as another pixel. Products with matrices are
    faster, but there a NaN reaches everything, equal classes need not stay equal, and GPUs may round to TF32.

    Args:
        values: float32 or float64 `[B, h, w, C]`, finite or NaN.
        size: the new height and width: a pair of ints or an int32 tensor `[2]`.
        align_corners: False for half-pixel centres (`tf.image.resize`), True for corner pixels that keep their centres.

    Returns:
        `[B, H, W, C]` of the same dtype.
    """
    for axis in (2, 1):  # so that the larger one of the two steps moves whole rows
        source, length = tf.shape(values, tf.int64)[axis], size[axis - 1]
        if not tf.is_tensor(length) and length == values.shape[axis]:
            continue
        lower, upper, lerp = _positions(source, tf.cast(length, tf.int64), align_corners)
        lerp = tf.reshape(tf.cast(lerp, values.dtype), [-1, 1, 1] if axis == 1 else [-1, 1])
        first = tf.gather(values, lower, axis=axis)
        values = first + (tf.gather(values, upper, axis=axis) - first) * lerp
    return values


def _positions(source: tf.Tensor, size: tf.Tensor, align_corners: bool) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """For each output the two source pixels around it and the way from the first to the second, 0 to below 1, float64.

    Output `i` lies at `place / whole` source pixels, an exact fraction until its remainder is divided.
    """
    if align_corners:
        whole = tf.maximum(size - 1, 1)
        place = tf.range(size) * (source - 1)
    else:
        whole = 2 * tf.maximum(size, 1)
        place = tf.maximum(tf.range(size) * 2 * source + source - size, 0)
    lower = tf.minimum(place // whole, source - 1)
    lerp = tf.cast(place % whole, tf.float64) / tf.cast(whole, tf.float64)
    return lower, tf.minimum(lower + 1, source - 1), lerp
