"""Convolution, batch normalisation and activation, padded alike on both sides."""

from __future__ import annotations

import keras
import tensorflow as tf

import kseg_ops
from kseg.layers import _folding
from kseg.layers._conv_norm import ConvNorm, both_sides
from kseg_ops import _library

# From so many channels on, the compiled op serves kernels without dilation too. A kernel is a variable, which
# TensorFlow brings into the form that oneDNN wants on every call: for 3 x 3 x 2048 x 512 that took half as long as the
# convolution itself.
WIDE = 2048


@keras.saving.register_keras_serializable(package="kseg")
class ConvNorm2D(ConvNorm):
    """A convolution, then batch normalisation, then an activation.

    `rate * (kernel_size - 1) / 2` zeros are added on every side whatever the stride, as the published networks do:
    Keras's `padding="same"` adds more at the bottom and the right where the stride is 2 and the size even, and its
    outputs are those of a network shifted by half a pixel. At inference the normalisation is folded into the
    convolution.

    Args:
        filters: output channels.
        kernel_size: an odd int, or (rows, columns).
        strides: an int.
        rate: dilation: how far apart the taps lie. Above 1 it excludes strides.
        norm: `"batch"` or None.
        activation: name or callable, as in Keras.
        use_bias: whether the convolution has a bias; None: only without a normalisation.
        kernel_initializer: as in Keras.
        norm_momentum: of the moving averages.
        norm_epsilon: added to the variance.
        **kwargs: `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: `(B, H, W, C)`.
        training: whether normalisation takes the statistics of the batch.

    Returns:
        `(B, ceil(H / strides), ceil(W / strides), filters)` in the compute dtype.

    Raises:
        ValueError: an argument outside its range.

    Example:
        >>> features = ConvNorm2D(64, 7, strides=2)(keras.Input((None, None, 3)))
    """

    native_ops = ("atrous_conv2d",)

    def __init__(
        self,
        filters,
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
            filters=filters,
            **kwargs,
        )
        self.filters = filters
        self.wide = False
        if not self.dilated:
            self.supports_jit = True

    def build(self, input_shape):
        rows, columns = _folding.kernel_pair(self.kernel_size)
        self.wide = self.strides == 1 and rows * columns > 1 and input_shape[-1] >= WIDE
        if self.wide:
            self.supports_jit = _library.jit_ready(self.native_ops)
        super().build(input_shape)

    def output_channels(self, channels):
        return self.filters

    def kernel_shape(self, channels):
        return (*_folding.kernel_pair(self.kernel_size), channels, self.filters)

    def convolve(self, inputs, kernel):
        if self.dilated:
            return kseg_ops.atrous_conv2d(inputs, kernel, self.rate)
        strides = self.strides
        if strides > 1 and kernel.shape[:2].num_elements() == 1:
            # The same product over fewer pixels. TensorFlow 2.21 with oneDNN writes beyond a buffer in the backward
            # pass of a 1 x 1 convolution with strides over an even size and few channels.
            inputs, strides = inputs[:, ::strides, ::strides], 1
        # "SAME" wherever it is the same: explicit padding keeps oneDNN out of the backward pass.
        return tf.nn.conv2d(inputs, kernel, strides, "SAME" if strides == 1 else both_sides(self.kernel_size))

    def apply(self, inputs, scale=None, offset=None, activation=keras.activations.linear):
        if not self.wide:
            # Bias and activation as ops of their own, which TensorFlow fuses with its convolution.
            return super().apply(inputs, scale, offset, activation)
        kernel, fused = tf.convert_to_tensor(self.kernel), _folding.fused_name(activation)
        features = kseg_ops.atrous_conv2d(
            inputs, kernel, self.rate, scale=scale, offset=offset, activation=fused or "linear"
        )
        return features if fused else activation(features)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}
