"""Depthwise convolution, batch normalisation and activation, padded alike on both sides."""

from __future__ import annotations

import keras
import tensorflow as tf

import kseg_ops
from kseg.layers import _folding
from kseg.layers._conv_norm import ConvNorm, both_sides
from kseg.layers._depthwise_initializer import DepthwiseInitializer


@keras.saving.register_keras_serializable(package="kseg")
class DepthwiseConvNorm2D(ConvNorm):
    """A depthwise convolution, then batch normalisation, then an activation: `ConvNorm2D`, channel by channel.

    `rate * (kernel_size - 1) / 2` zeros are added on every side whatever the stride. At inference the normalisation is
    folded into the convolution.

    Args:
        kernel_size: an odd int, or (rows, columns).
        strides: an int.
        rate: dilation: how far apart the taps lie. Above 1 it excludes strides.
        norm: `"batch"` or None.
        activation: name or callable, as in Keras.
        use_bias: whether the convolution has a bias; None: only without a normalisation.
        kernel_initializer: as in Keras; the fan-in is that of one channel.
        norm_momentum: of the moving averages.
        norm_epsilon: added to the variance.
        **kwargs: `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: `(B, H, W, C)`.
        training: whether normalisation takes the statistics of the batch.

    Returns:
        `(B, ceil(H / strides), ceil(W / strides), C)` in the compute dtype.

    Raises:
        ValueError: an argument outside its range.

    Example:
        >>> features = DepthwiseConvNorm2D(5, strides=2, activation="hard_silu")(keras.Input((None, None, 16)))
    """

    native_ops = ("depthwise_atrous_conv2d",)

    def __init__(
        self,
        kernel_size=3,
        strides=1,
        rate=1,
        norm="batch",
        activation="relu",
        use_bias=None,
        kernel_initializer="he_normal",
        norm_momentum=0.9,
        norm_epsilon=1e-5,
        **kwargs,
    ):
        super().__init__(
            kernel_size,
            strides,
            rate,
            norm,
            activation,
            use_bias,
            kernel_initializer,
            norm_momentum,
            norm_epsilon,
            **kwargs,
        )
        if strides > 1:
            self.supports_jit = True

    def output_channels(self, channels):
        return channels

    def kernel_shape(self, channels):
        return (*_folding.kernel_pair(self.kernel_size), channels, 1)

    def initializer(self):
        return DepthwiseInitializer(self.kernel_initializer)

    def fold_into(self, kernel, scale):
        return kernel * scale[:, tf.newaxis]

    def convolve(self, inputs, kernel):
        if self.strides == 1:
            return kseg_ops.depthwise_atrous_conv2d(inputs, kernel, self.rate)
        # Zeros put around first: where TensorFlow fuses a depthwise convolution of explicit padding with a bias, oneDNN
        # refuses it, and the process ends.
        padded = tf.pad(inputs, both_sides(self.kernel_size))
        return tf.nn.depthwise_conv2d(padded, kernel, [1, self.strides, self.strides, 1], "VALID")
