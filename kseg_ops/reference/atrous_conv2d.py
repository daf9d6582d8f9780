"""The specification of `kseg_ops.atrous_conv2d` in stock TensorFlow: a convolution, an affine map, an activation.

Of the two ways that TensorFlow has to a dilated convolution, `tf.nn.convolution` (which Keras's Conv2D calls) runs
everywhere, but shuffles the pixels through `space_to_batch` when the rate is above 1, which costs several times the
convolution itself at high rates. `tf.nn.conv2d` with `dilations` does not, but has a gradient on CPUs only where there
is oneDNN, and not for float64; one tiny call tells.
"""

from __future__ import annotations

import functools

import tensorflow as tf


def atrous_conv2d(
    x: tf.Tensor,
    filters: tf.Tensor,
    rate: tuple[int, int],
    scale: tf.Tensor | None,
    offset: tf.Tensor | None,
    activation: str,
    padding: str,
) -> tf.Tensor:
    """Arguments and result as for `kseg_ops.atrous_conv2d`, already checked; `scale` and `offset` float32 or None.

    Computes in float32 (float64 for float64) and rounds once. Compiles under XLA where shapes are static.
    """
    compute = tf.float64 if x.dtype == tf.float64 else tf.float32
    values = convolve(tf.cast(x, compute), tf.cast(filters, compute), rate, padding)
    return tf.cast(finish(values, scale, offset, activation), x.dtype)


def convolve(x: tf.Tensor, filters: tf.Tensor, rate: tuple[int, int], padding: str) -> tf.Tensor:
    """The convolution alone, of float32 or float64."""
    if 0 in _known_sizes(x.shape, filters.shape, rate, padding):
        # Nothing to sum; but the gradients are zeros of the right shapes.
        return tf.zeros(_output_shape(x, filters, rate, padding), x.dtype) + tf.reduce_sum(x) + tf.reduce_sum(filters)
    if rate == (1, 1) or (x.dtype == tf.float32 and _conv2d_has_dilated_gradient()):
        result = tf.nn.conv2d(x, filters, 1, padding.upper(), dilations=rate)
    else:
        result = tf.nn.convolution(x, filters, padding=padding.upper(), dilations=rate)
    if x.shape[:3].is_fully_defined():
        return result
    # With oneDNN, conv2d of an empty batch has the channels of x, and an empty result the size of the map.
    shape, real = result.shape, _output_shape(x, filters, rate, padding)
    result = tf.reshape(tf.reshape(result, [-1])[: tf.reduce_prod(real)], real)
    result.set_shape(shape)
    return result


def _known_sizes(x: tf.TensorShape, filters: tf.TensorShape, rate: tuple[int, int], padding: str) -> list[int | None]:
    """Batch, height and width of the result, as far as they are known."""
    if x.rank is None:
        return []
    sizes = x.as_list()[:3]
    if padding == "valid" and filters.rank is not None:
        for axis in (1, 2):
            if sizes[axis] is not None and filters[axis - 1] is not None:
                sizes[axis] -= (filters[axis - 1] - 1) * rate[axis - 1]
    return sizes


def _output_shape(x: tf.Tensor, filters: tf.Tensor, rate: tuple[int, int], padding: str) -> tf.Tensor:
    sizes, kernel = tf.shape(x), tf.shape(filters)
    lost = (kernel[:2] - 1) * rate if padding == "valid" else 0
    return tf.concat([sizes[:1], tf.maximum(sizes[1:3] - lost, 0), kernel[3:]], 0)


def finish(values: tf.Tensor, scale: tf.Tensor | None, offset: tf.Tensor | None, activation: str | None) -> tf.Tensor:
    """`activation(values * scale + offset)`."""
    if scale is not None:
        values = values * tf.cast(scale, values.dtype)
    if offset is not None:
        values = values + tf.cast(offset, values.dtype)
    if activation == "relu":
        return tf.nn.relu(values)
    if activation == "relu6":
        return tf.nn.relu6(values)
    if activation == "hard_sigmoid":
        return tf.nn.relu6(values + 3) / 6
    if activation == "hard_silu":
        return values * (tf.nn.relu6(values + 3) / 6)
    return values


@functools.cache
def _conv2d_has_dilated_gradient() -> bool:
    if tf.config.get_visible_devices("GPU"):
        return True
    with tf.init_scope():  # eager, even while a graph is being traced
        try:
            tf.raw_ops.Conv2DBackpropInput(
                input_sizes=[1, 3, 3, 1],
                filter=tf.ones([2, 2, 1, 1]),
                out_backprop=tf.ones([1, 3, 3, 1]),
                strides=[1, 1, 1, 1],
                padding="SAME",
                dilations=[1, 2, 2, 1],
            )
        except tf.errors.OpError:
            return False
    return True
