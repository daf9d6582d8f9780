"""The specification of `kseg_ops.max_pool_with_indices` in stock TensorFlow."""

from __future__ import annotations

import tensorflow as tf


def max_pool_with_indices(
    x: tf.Tensor, pool_size: tuple[int, int], strides: tuple[int, int], padding: str
) -> tuple[tf.Tensor, tf.Tensor]:
    """Max pooling with the places of the maxima. Arguments and results as for the public op, already checked.

    The place is found first: the best column within each row of a window, then the best row. Values are then gathered
    from their places, which is what gives the op its gradient. Compiles under XLA where shapes are static.
    """
    x = tf.ensure_shape(x, [None] * 4)
    values = tf.stop_gradient(x)
    values, columns = _best_along(values, 2, pool_size[1], strides[1], padding)
    _, rows = _best_along(values, 1, pool_size[0], strides[0], padding)
    columns = _take(columns, rows)
    indices = rows * tf.shape(x)[2] + columns
    return gather_places(x, indices), indices


def gather_places(x: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """The values of `x [B, H, W, C]` at `indices [B, h, w, C]`, each a place `y * W + x` in its image and channel."""
    batch, height, width, channels = tf.unstack(tf.shape(x, tf.int64))
    images = tf.range(batch)[:, None, None, None] * (height * width)
    places = (images + tf.cast(indices, tf.int64)) * channels + tf.range(channels)
    return tf.gather(tf.reshape(x, [-1]), places)


def _take(grid: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """`grid[b, rows[b, y, x, c], x, c]`."""
    batch, height, width, channels = tf.unstack(tf.shape(grid, tf.int64))
    places = tf.range(batch)[:, None, None, None] * height + tf.cast(rows, tf.int64)
    places = (places * width + tf.range(width)[:, None]) * channels + tf.range(channels)
    return tf.gather(tf.reshape(grid, [-1]), places)


def _best_along(values: tf.Tensor, axis: int, pool: int, stride: int, padding: str) -> tuple[tf.Tensor, tf.Tensor]:
    """The largest value of each window along an axis, and its place there; the first one if there are several."""
    size = tf.shape(values)[axis] if values.shape[axis] is None else values.shape[axis]
    if padding == "same":
        outputs = -(-size // stride)
        before = tf.maximum((outputs - 1) * stride + pool - size, 0) // 2
    else:
        outputs = tf.maximum((size - pool) // stride + 1, 0)
        before = 0
    starts = tf.range(outputs) * stride - before
    along = [1, 1, 1, 1]
    along[axis] = -1

    def compare(step: tf.Tensor, best: tf.Tensor, where: tf.Tensor) -> tuple:
        places = starts + step
        value = tf.gather(values, tf.clip_by_value(places, 0, size - 1), axis=axis)
        inside = tf.reshape((places >= 0) & (places < size), along)
        larger = (value > best) | (tf.math.is_nan(value) & ~tf.math.is_nan(best))
        wins = inside & ((where < 0) | larger)
        return step + 1, tf.where(wins, value, best), tf.where(wins, tf.reshape(places, along), where)

    first = tf.gather(values, tf.clip_by_value(starts, 0, size - 1), axis=axis)
    _, best, where = tf.while_loop(
        lambda step, *_: step < pool,
        compare,
        [tf.constant(0), first, tf.fill(tf.shape(first), -1)],
        shape_invariants=[tf.TensorShape([]), first.shape, first.shape],
    )
    return best, where
