"""The specification of `kseg_ops.multilevel_roi_align` in stock TensorFlow: every box on every level, one kept."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops.reference.roi_align import roi_align


def multilevel_roi_align(
    features: list[tf.Tensor],
    boxes: tf.Tensor,
    output_size: tuple[int, int],
    spatial_scales: list[float],
    level_areas: list[float],
    sampling_ratio: int,
    aligned: bool,
) -> tf.Tensor:
    """Pools boxes `[B, N, 4]` of a pyramid, `[B, H, W, C]` per level, finest first; arguments already checked.

    A box goes to level i where i is the number of entries in `level_areas` that its area reaches. On the other levels
    it counts as not finite, so that it gives zeros and no gradient there. It is not skipped: this costs as many times a
    single level as there are levels. Compiles under XLA where shapes are static.

    Raises:
        tf.errors.InvalidArgumentError: a level without pixels, or batches or channels that differ.
    """
    boxes = tf.stop_gradient(tf.ensure_shape(boxes, [None, None, 4]))
    features = [tf.ensure_shape(level, [None] * 4) for level in features]
    batch, count = (boxes.shape[axis] if boxes.shape[axis] is not None else tf.shape(boxes)[axis] for axis in (0, 1))
    with tf.control_dependencies(_checks(features, boxes)):
        boxes = tf.identity(boxes)
    area = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    # Comparisons with NaN are false: the first level.
    of_box = tf.reduce_sum(tf.cast(area[..., None] >= tf.constant(level_areas, tf.float32), tf.int32), axis=-1)
    of_box = tf.reshape(of_box, [-1])
    flat = tf.reshape(boxes, [-1, 4])
    images = tf.reshape(tf.broadcast_to(tf.range(batch)[:, None], [batch, count]), [-1])
    pooled = 0
    for index, (level, scale) in enumerate(zip(features, spatial_scales, strict=True)):
        here = tf.equal(of_box, index)[:, None]
        placed = tf.where(here, flat, float("nan"))
        values = roi_align(level, placed, images, output_size, scale, sampling_ratio, aligned)
        # Not only added: a zero weight times an infinite feature is NaN in the reference of adaptive sampling.
        pooled += tf.where(here[..., None, None], values, tf.zeros_like(values))
    channels = features[0].shape[3]
    shape = [batch, count, *output_size, tf.shape(features[0])[3] if channels is None else channels]
    return tf.ensure_shape(tf.reshape(pooled, shape), [*boxes.shape[:2], *output_size, channels])


def _checks(features: list[tf.Tensor], boxes: tf.Tensor) -> list:
    checks = []
    for index, level in enumerate(features):
        shape = tf.shape(level)
        checks += [
            tf.debugging.assert_equal(
                shape[0], tf.shape(boxes)[0], f"features[{index}] must have the batch size of boxes"
            ),
            tf.debugging.assert_equal(
                shape[3], tf.shape(features[0])[3], f"features[{index}] must have as many channels as the first"
            ),
        ]
    return [check for check in checks if check is not None]  # eager assertions return nothing
