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
    position = _positions(tf.range(length, dtype=tf.int64), points, length, align_corners)
    return _hats(position, tf.range(tf.cast(points, tf.int64)), dtype)


def resize_bilinear(features: tf.Tensor, size, align_corners: bool) -> tf.Tensor:
    """`(B, h, w, C)` at another size, as matrix products; float32 at least.

    Not by TensorFlow's own op, which XLA compiles wrongly: an output that lies exactly on a pixel of the source, as the
    middle one from 5 to 9 pixels does, may come out as another pixel.
    """
    wide = tf.float64 if features.dtype == tf.float64 else tf.float32
    features = tf.cast(features, wide)
    for axis in (2, 1):
        if tf.is_tensor(size) or size[axis - 1] != features.shape[axis]:
            features = _resize_axis(features, axis, size[axis - 1], align_corners)
    return features


# Outputs of one product. An output needs two points only, so that one matrix for a long axis would be nearly all zeros.
_BAND = 64


def _resize_axis(features, axis, length, align_corners):
    """`(B, h, w, C)` interpolated along one axis, band by band."""
    given = tf.unstack(tf.shape(features, tf.int64))
    points, length = given[axis], tf.cast(length, tf.int64)
    bands = tf.maximum(-(-length // _BAND), 1)
    band = tf.maximum(-(-length // bands), 1)
    index = tf.minimum(tf.range(bands * band), length - 1)  # what is beyond the last one is cut off below
    position = tf.reshape(_positions(index, points, length, align_corners), [bands, band])
    # The way from the first output of a band to its last one, and the points on either side.
    reach = (band - 1) * points // tf.maximum(length - 1 if align_corners else length, 1) + 3
    first = tf.cast(tf.floor(position[:, :1]), tf.int64)
    near = tf.minimum(first, tf.maximum(points - reach, 0)) + tf.range(tf.minimum(reach, points))
    # All that follows the axis, as columns.
    columns = tf.reshape(features, [*given[: axis + 1], tf.reduce_prod(given[axis + 1 :])])
    products = tf.matmul(_hats(position, near, features.dtype), tf.gather(columns, near, axis=axis))
    products = tf.reshape(products, [*given[:axis], bands * band, *given[axis + 1 :]])
    # Not by an index, whose gradient is slow.
    return tf.slice(products, [0] * 4, [*given[:axis], length, *given[axis + 1 :]])


def _positions(index, points, length, align_corners):
    """Where values lie between points, float64; exact where that is on a point."""
    points, length = tf.cast(points, tf.int64), tf.cast(length, tf.int64)
    if align_corners:
        place, whole = index * (points - 1), tf.maximum(length - 1, 1)
    else:
        place, whole = index * 2 * points + points - length, 2 * tf.maximum(length, 1)
    return tf.cast(tf.clip_by_value(place, 0, (points - 1) * whole), tf.float64) / tf.cast(whole, tf.float64)


def _hats(position, points, dtype):
    """The weights of the points nearby, `(..., values, points)`: 1 on a point, 0 from a step away on."""
    distance = tf.abs(position[..., tf.newaxis] - tf.cast(points, tf.float64)[..., tf.newaxis, :])
    return tf.cast(tf.maximum(1 - distance, 0), dtype)
