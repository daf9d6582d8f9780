"""Averaging and interpolation along an axis, as matrices."""

from __future__ import annotations

import tensorflow as tf


def averaging_matrix(bins: int, length, dtype) -> tf.Tensor:
    """The matrix `(bins, length)` that averages pixels over bins, from `floor(i * length / bins)` to
    `ceil((i + 1) * length / bins)`.
    """
    index = tf.range(bins)
    start = index * length // bins
    end = -(-(index + 1) * length // bins)
    pixel = tf.range(length)
    inside = tf.cast((pixel >= start[:, None]) & (pixel < end[:, None]), dtype)
    return inside / tf.cast(end - start, dtype)[:, None]


def interpolation_matrix(points, length, dtype, align_corners: bool) -> tf.Tensor:
    """The matrix `(length, points)` that interpolates linearly between points.

    Args:
        points: how many there are, an int or an int32 tensor.
        length: how many values are interpolated.
        dtype: of the result; positions are computed in float64.
        align_corners: whether the outer values lie on the outer points, or half a step outside of them.
    """
    index = tf.cast(tf.range(length), tf.float64)
    points, length = tf.cast(points, tf.float64), tf.cast(length, tf.float64)
    if align_corners:
        position = index * ((points - 1) / tf.maximum(length - 1, 1))
    else:
        position = tf.clip_by_value((index + 0.5) * (points / length) - 0.5, 0, points - 1)
    return tf.cast(tf.maximum(1 - tf.abs(position[:, None] - tf.range(points)), 0), dtype)


def resize_bilinear(features: tf.Tensor, size, align_corners: bool) -> tf.Tensor:
    """`(B, h, w, C)` at another size, as two matrix products; float32 at least.

    TensorFlow's own op is faster, but XLA compiles it wrongly for some sizes: from 5 to 9 pixels, the last one is off.
    """
    wide = tf.float64 if features.dtype == tf.float64 else tf.float32
    features = tf.cast(features, wide)
    batch, height, width, channels = (tf.shape(features)[axis] for axis in range(4))
    features = tf.matmul(interpolation_matrix(width, size[1], wide, align_corners), features)
    features = tf.reshape(features, [batch, height, size[1] * channels])
    features = tf.matmul(interpolation_matrix(height, size[0], wide, align_corners), features)
    return tf.reshape(features, [batch, size[0], size[1], channels])
