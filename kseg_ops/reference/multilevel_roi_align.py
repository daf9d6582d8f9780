"""The specification of `kseg_ops.multilevel_roi_align` in stock TensorFlow."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops.reference.roi_align import gathers, pool_gathered, roi_align
from kseg_ops.reference.roi_samples import sample_taps, size_of


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

    A box goes to level i where i is the number of entries in `level_areas` that its area reaches. Its pixels are
    gathered out of all levels one after the other in memory, which takes a copy of them. With adaptive sampling, or a
    ratio above 3, every box is pooled on every level: on the others it counts as not finite, so that it gives zeros and
    no gradient there. Compiles under XLA where shapes are static.

    Raises:
        tf.errors.InvalidArgumentError: a level without pixels, or batches or channels that differ.
    """
    boxes = tf.stop_gradient(tf.ensure_shape(boxes, [None, None, 4]))
    features = [tf.ensure_shape(level, [None] * 4) for level in features]
    batch, count = (boxes.shape[axis] if boxes.shape[axis] is not None else tf.shape(boxes)[axis] for axis in (0, 1))
    with tf.control_dependencies(_checks(features, boxes)):
        boxes = tf.identity(boxes)
        features = [tf.identity(level) for level in features]
    area = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    # Comparisons with NaN are false: the first level.
    of_box = tf.reduce_sum(tf.cast(area[..., None] >= tf.constant(level_areas, tf.float32), tf.int32), axis=-1)
    of_box = tf.reshape(of_box, [-1])
    flat = tf.reshape(boxes, [-1, 4])
    images = tf.reshape(tf.broadcast_to(tf.range(batch)[:, None], [batch, count]), [-1])
    pool = _from_own_level if gathers(features[0], sampling_ratio) else _from_every_level
    pooled = pool(features, flat, images, of_box, output_size, spatial_scales, sampling_ratio, aligned)
    channels = features[0].shape[3]
    shape = [batch, count, *output_size, tf.shape(features[0])[3] if channels is None else channels]
    return tf.ensure_shape(tf.reshape(pooled, shape), [*boxes.shape[:2], *output_size, channels])


def _from_own_level(features, boxes, images, of_box, output_size, spatial_scales, sampling_ratio, aligned):
    compute = tf.float64 if features[0].dtype == tf.float64 else tf.float32
    boxes = tf.cast(boxes, compute)
    sizes = [tf.cast(tf.shape(level)[:3], tf.int64) for level in features]
    heights, widths = (tf.gather(tf.stack([size[axis] for size in sizes]), of_box) for axis in (1, 2))
    begins = tf.gather(tf.cumsum(tf.stack([tf.reduce_prod(size) for size in sizes]), exclusive=True), of_box)
    scales = tf.gather(tf.constant(spatial_scales, tf.float32), of_box)
    columns, rows = (
        sample_taps(boxes[:, axis], boxes[:, axis + 2], extent, bins, scales, sampling_ratio, aligned)
        for axis, extent, bins in ((0, widths, output_size[1]), (1, heights, output_size[0]))
    )
    first = tf.cast(images, tf.int64) * heights
    places = begins[:, None, None] + (first[:, None, None] + tf.cast(rows.index, tf.int64)) * widths[:, None, None]
    channels = size_of(features[0], 3)
    pixels = tf.concat([tf.cast(tf.reshape(level, [-1, channels]), compute) for level in features], axis=0)
    columns = columns._replace(index=tf.cast(columns.index, tf.int64))
    return tf.cast(pool_gathered(pixels, rows._replace(index=places), columns), features[0].dtype)


def _from_every_level(features, boxes, images, of_box, output_size, spatial_scales, sampling_ratio, aligned):
    pooled = 0
    for index, (level, scale) in enumerate(zip(features, spatial_scales, strict=True)):
        here = tf.equal(of_box, index)[:, None]
        placed = tf.where(here, boxes, float("nan"))
        values = roi_align(level, placed, images, output_size, scale, sampling_ratio, aligned)
        # Not only added: a zero weight times an infinite feature is NaN in the reference of adaptive sampling.
        pooled += tf.where(here[..., None, None], values, tf.zeros_like(values))
    return pooled


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
            tf.debugging.Assert(
                tf.reduce_all(shape[1:3] > 0) | tf.equal(tf.size(boxes), 0),
                [f"features[{index}] must have at least one row and one column, got shape", shape],
            ),
        ]
    return [check for check in checks if check is not None]  # eager assertions return nothing
