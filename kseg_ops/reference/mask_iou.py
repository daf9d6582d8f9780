"""The specification of `kseg_ops.mask_iou` in stock TensorFlow: dot products of masks of 0 and 1."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops.reference import mask_bits


def mask_iou(
    a: tf.Tensor,
    b: tf.Tensor,
    is_crowd: tf.Tensor,
    width: int | None,
    boxes_a: tf.Tensor | None = None,
    boxes_b: tf.Tensor | None = None,
) -> tf.Tensor:
    """Pairwise intersection over union. Arguments and result as for `kseg_ops.mask_iou`, already checked.

    Compiles under XLA where shapes are static. Has no gradient: counts are integers.
    """
    a = mask_bits.flatten(tf.ensure_shape(a, [None] * 3), width, boxes_a)
    b = mask_bits.flatten(tf.ensure_shape(b, [None] * 3), width, boxes_b)
    is_crowd = tf.ensure_shape(is_crowd, [None])
    common, area_a, area_b = mask_bits.counts(a, b)
    area_a, area_b = area_a[:, None], area_b[None, :]
    denominator = tf.where(is_crowd[None, :], area_a + tf.zeros_like(area_b), area_a + area_b - common)
    return mask_bits.iou(common, denominator)
