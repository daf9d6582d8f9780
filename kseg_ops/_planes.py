"""Binary images of any rank as one batch of planes, and results back in the caller's shape."""

from __future__ import annotations

import tensorflow as tf


def as_planes(masks) -> tuple[tf.Tensor, tf.Tensor]:
    """Bool `[N, H, W]` of masks `[..., H, W]`, whatever is not 0 being True, and the masks' shape as an int64 tensor.

    Raises:
        TypeError: the masks are neither bool nor integer.
        ValueError: they are known to have fewer than two axes.
    """
    masks = tf.convert_to_tensor(masks)
    if not (masks.dtype.is_bool or masks.dtype.is_integer):
        raise TypeError(f"masks must be bool or integer, got dtype {masks.dtype.name}: compare with a threshold first")
    if masks.shape.rank is not None and masks.shape.rank < 2:
        raise ValueError(f"masks must have shape [..., H, W], got shape {masks.shape}")
    if not masks.dtype.is_bool:
        masks = tf.not_equal(masks, 0)
    shape = tf.shape(masks, tf.int64)
    if masks.shape.rank == 3:
        return masks, shape
    static = masks.shape
    if static.rank is None:
        has_axes = tf.debugging.Assert(tf.rank(masks) >= 2, ["masks must have shape [..., H, W], got shape", shape])
        with tf.control_dependencies([] if has_axes is None else [has_axes]):
            shape = tf.identity(shape)
    planes = tf.reshape(masks, tf.concat([[tf.reduce_prod(shape[:-2])], shape[-2:]], 0))
    count = static[:-2].num_elements() if static.rank is not None else None
    planes.set_shape([count, *(static[-2:] if static.rank is not None else [None, None])])
    return planes, shape


def from_planes(planes: tf.Tensor, shape: tf.Tensor, static: tf.TensorShape, axes: int = 2) -> tf.Tensor:
    """What was computed for planes, `[N, ...]`, for the masks `[..., H, W]` that they came from.

    Args:
        planes: the result, `[N]`, `[N, H, W]` or `[N, H, W, k]`.
        shape: of the masks.
        static: of the masks, as far as known.
        axes: how many of the last axes of the masks the result keeps: 2, or 0 for one number per plane.
    """
    if static.rank == 3:
        return planes
    kept = planes.shape[1 + axes :]
    leading = shape if axes else shape[:-2]
    result = tf.reshape(planes, tf.concat([leading, tf.constant(kept.as_list(), tf.int64)], 0))
    if static.rank is not None:
        result.set_shape([*(static if axes else static[:-2]), *kept])
    return result
