"""The separable convolutions that the layers call; stock operations where kseg_ops has none of its own."""

from __future__ import annotations

import tensorflow as tf

import kseg_ops

NATIVE_OPS = tuple(name for name in ("atrous_separable_conv2d", "depthwise_atrous_conv2d") if name in kseg_ops.__all__)


def depthwise_atrous_conv2d(x, filters, rate=1, padding="same"):
    """A depthwise convolution of the dtype of `x`."""
    if "depthwise_atrous_conv2d" in NATIVE_OPS:
        return kseg_ops.depthwise_atrous_conv2d(x, filters, rate, padding=padding)
    pair = (rate, rate) if isinstance(rate, int) else tuple(rate)
    return tf.nn.depthwise_conv2d(x, filters, [1, 1, 1, 1], padding.upper(), dilations=pair)


def atrous_separable_conv2d(x, depthwise, pointwise, rate=1, **options):
    """Depthwise and pointwise convolution, each with scale, offset and activation."""
    if "atrous_separable_conv2d" in NATIVE_OPS:
        return kseg_ops.atrous_separable_conv2d(x, depthwise, pointwise, rate, **options)
    between = depthwise_atrous_conv2d(x, depthwise, rate, options.get("padding", "same"))
    channels = tf.eye(tf.shape(pointwise)[2], dtype=x.dtype)[None, None]
    between = kseg_ops.atrous_conv2d(
        between,
        channels,
        scale=options.get("depthwise_scale"),
        offset=options.get("depthwise_offset"),
        activation=options.get("depthwise_activation"),
    )
    rest = {name: options.get(name) for name in ("scale", "offset", "activation")}
    return kseg_ops.atrous_conv2d(between, pointwise, **rest)
