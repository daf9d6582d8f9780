"""What atrous separable convolution means, in stock TensorFlow."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops.reference.depthwise_atrous_conv2d import depthwise_atrous_conv2d


def atrous_separable_conv2d(
    x,
    depthwise,
    pointwise,
    rate: tuple[int, int] = (1, 1),
    depthwise_scale=None,
    depthwise_offset=None,
    depthwise_activation: str = "linear",
    scale=None,
    offset=None,
    activation: str = "linear",
    padding: str = "same",
) -> tf.Tensor:
    """The two convolutions one after the other; `kseg_ops.atrous_separable_conv2d` documents the arguments.

    What lies between them is float32 (float64 for float64), whatever x is.
    """
    dtype = x.dtype
    if dtype.size < 4:
        x, depthwise, pointwise = (tf.cast(value, tf.float32) for value in (x, depthwise, pointwise))
    middle = depthwise_atrous_conv2d(x, depthwise, rate, padding)
    middle = finish(middle, depthwise_scale, depthwise_offset, depthwise_activation)
    return tf.cast(finish(multiply(middle, pointwise), scale, offset, activation), dtype)


def multiply(x, pointwise) -> tf.Tensor:
    """The 1x1 convolution, as a matrix product: TensorFlow's convolution refuses an empty batch's gradient."""
    shape = tf.shape(x)
    product = tf.matmul(tf.reshape(x, [shape[0] * shape[1] * shape[2], shape[3]]), pointwise[0, 0])
    product = tf.reshape(product, tf.concat([shape[:3], tf.shape(pointwise)[3:]], 0))
    return tf.ensure_shape(product, [*x.shape[:3], pointwise.shape[3]])


def finish(x, scale, offset, activation: str) -> tf.Tensor:
    """activation(x * scale + offset), a missing scale or offset left out."""
    if scale is not None:
        x = x * tf.cast(scale, x.dtype)
    if offset is not None:
        x = x + tf.cast(offset, x.dtype)
    return activate(x, activation)


def activate(x, activation: str) -> tf.Tensor:
    """One of `kseg_ops._atrous.ACTIVATIONS`."""
    if activation == "relu":
        return tf.nn.relu(x)
    if activation == "relu6":
        return tf.nn.relu6(x)
    if activation == "hard_sigmoid":
        return tf.nn.relu6(x + 3) / 6
    if activation == "hard_silu":
        return x * tf.nn.relu6(x + 3) / 6
    return x
