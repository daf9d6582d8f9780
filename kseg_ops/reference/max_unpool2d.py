"""The specification of `kseg_ops.max_unpool2d` in stock TensorFlow."""

from __future__ import annotations

import tensorflow as tf


def max_unpool2d(y: tf.Tensor, indices: tf.Tensor, output_size: tf.Tensor) -> tf.Tensor:
    """Puts each value where its index points. Arguments and result as for the public op, already checked.

    First, each place learns the last of the values that point to it; then it takes that value. Taking is what gives the
    op its gradient: none for a value that another one replaces. Compiles under XLA where shapes are static and
    `output_size` is constant; XLA drops the check of `indices`, and values that point outside are lost there.

    Raises:
        tf.errors.InvalidArgumentError: an index out of range.
    """
    y = tf.ensure_shape(y, [None] * 4)
    indices = tf.ensure_shape(indices, [None] * 4)
    sizes = tf.get_static_value(output_size)
    output_size = tf.cast(output_size, tf.int64)
    height, width = output_size[0], output_size[1]
    pixels = height * width
    places = tf.cast(tf.reshape(indices, [-1]), tf.int64)
    outside = (places < 0) | (places >= pixels)
    least, most = tf.reduce_min(places), tf.reduce_max(places)
    fits = tf.debugging.Assert(
        tf.logical_not(tf.reduce_any(outside)),
        ["indices must be in 0..H*W-1 with H*W =", pixels, "by output_size, got", tf.where(least < 0, least, most)],
    )
    batch, channels = tf.shape(y, tf.int64)[0], tf.shape(y, tf.int64)[3]
    with tf.control_dependencies([] if fits is None else [fits]):
        images = tf.range(batch)[:, None, None, None] * pixels
    targets = (images + tf.cast(indices, tf.int64)) * channels + tf.range(channels)
    count = batch * pixels * channels
    # Outside of its image, under XLA: nowhere at all, rather than in the next one.
    targets = tf.where(outside, count, tf.reshape(targets, [-1]))
    order = tf.range(1, tf.size(targets, tf.int64) + 1)
    last = tf.tensor_scatter_nd_max(tf.zeros(tf.reshape(count, [1]), tf.int64), targets[:, None], order)
    values = tf.concat([tf.zeros([1], y.dtype), tf.reshape(y, [-1])], 0)
    x = tf.reshape(tf.gather(values, last), tf.stack([batch, height, width, channels]))
    static = [None, None] if sizes is None else [int(size) for size in sizes]
    return tf.ensure_shape(x, [y.shape[0], *static, y.shape[3]])
