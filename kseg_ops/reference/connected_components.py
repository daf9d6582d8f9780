"""The specification of `kseg_ops.connected_components` in stock TensorFlow."""

from __future__ import annotations

import tensorflow as tf


def connected_components(masks: tf.Tensor, connectivity: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Labels the connected components of each mask; compiles under XLA where shapes are static.

    Every foreground pixel begins as a component of its own, named by its place in raster order. In each round a pixel
    takes the least name among its neighbours and tells it to the pixel that gave it its present name; names are then
    replaced by the names of those pixels (Zhang, Azad and Hu 2020, "FastSV"). Names only fall, and where a round
    changes none, each component has one: the place of its first pixel.

    Args:
        masks: bool `[N, H, W]`.
        connectivity: 4 or 8.

    Returns:
        Labels, int32 `[N, H, W]`, and how many there are, int32 `[N]`.
    """
    images, height, width = (
        tf.shape(masks, tf.int64)[axis] if size is None else tf.constant(size, tf.int64)
        for axis, size in enumerate(masks.shape)
    )
    pixels = height * width
    nobody = images * pixels  # a name that is no pixel's
    foreground = tf.reshape(masks, [-1])
    own = tf.range(nobody)
    shape = tf.TensorShape([None]), tf.TensorShape([])  # of no images the size is known, and the step does not tell

    def least_neighbour(names: tf.Tensor) -> tf.Tensor:
        grid = tf.reshape(tf.where(foreground, names, nobody), [images, height, width])
        padded = tf.pad(grid, [[0, 0], [1, 1], [1, 1]], constant_values=nobody)
        least = grid
        for down in range(3):
            for right in range(3):
                if connectivity == 8 or down == 1 or right == 1:
                    shifted = tf.slice(padded, [0, down, right], [images, height, width])
                    least = tf.minimum(least, shifted)
        # Background keeps its own name.
        return tf.where(foreground, tf.reshape(least, [-1]), own)

    def spread(names: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        least = least_neighbour(names)
        new = tf.tensor_scatter_nd_min(tf.minimum(names, least), names[:, None], least)
        new = tf.gather(new, new)
        return new, tf.reduce_any(new != names)

    names, _ = tf.while_loop(lambda _, changed: changed, spread, [own, nobody > 0], shape_invariants=list(shape))
    is_first = tf.reshape(foreground & (names == own), [images, pixels])
    numbers = tf.cumsum(tf.cast(is_first, tf.int32), axis=1)
    labels = tf.where(foreground, tf.gather(tf.reshape(numbers, [-1]), names), 0)
    counts = tf.reduce_sum(tf.cast(is_first, tf.int32), axis=1)
    return tf.ensure_shape(tf.reshape(labels, [images, height, width]), masks.shape), tf.ensure_shape(
        counts, masks.shape[:1]
    )
