"""The block of MobileNets."""

from __future__ import annotations

import keras

from kseg.layers.conv_norm2d import ConvNorm2D
from kseg.layers.depthwise_conv_norm2d import DepthwiseConvNorm2D
from kseg.layers.squeeze_excitation import SqueezeExcitation


@keras.saving.register_keras_serializable(package="kseg")
class InvertedResidual(keras.layers.Layer):
    """A 1 x 1 convolution to more channels, a depthwise one, squeeze and excitation, and a 1 x 1 one to fewer channels.

    Every convolution has batch normalisation, all but the last an activation. The first is left out where it would not
    widen the features. The input is added to the output where both have one shape.

    Source: Sandler et al. 2018, "MobileNetV2", https://arxiv.org/abs/1801.04381; with squeeze and excitation as in
    Howard et al. 2019, "Searching for MobileNetV3", https://arxiv.org/abs/1905.02244.

    Args:
        expanded_filters: channels in the middle.
        filters: output channels.
        kernel_size: of the depthwise convolution: an odd int.
        strides: of the depthwise convolution.
        rate: its dilation; above 1 it excludes strides.
        squeeze_filters: channels in the middle of squeeze and excitation, or None for a block without.
        residual: whether the input is added where the shapes allow it.
        activation: name or callable, as in Keras.
        kernel_initializer: as in Keras.
        norm_momentum: of the moving averages.
        norm_epsilon: added to the variance.
        **kwargs: `name`, `dtype`, `trainable`.

    Attributes:
        block: the layers in their order.

    Call arguments:
        inputs: `(B, H, W, C)`.
        training: whether normalisation takes the statistics of the batch.

    Returns:
        `(B, ceil(H / strides), ceil(W / strides), filters)` in the compute dtype.

    Raises:
        ValueError: an argument outside its range.

    Example:
        >>> features = InvertedResidual(64, 24, strides=2)(keras.Input((None, None, 16)))
    """

    def __init__(
        self,
        expanded_filters,
        filters,
        kernel_size=3,
        strides=1,
        rate=1,
        squeeze_filters=None,
        residual=True,
        activation="relu",
        kernel_initializer="he_normal",
        norm_momentum=0.99,
        norm_epsilon=1e-3,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.expanded_filters = expanded_filters
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.rate = rate
        self.squeeze_filters = squeeze_filters
        self.residual = residual
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.norm_momentum = norm_momentum
        self.norm_epsilon = norm_epsilon

    def build(self, input_shape):
        channels = input_shape[-1]
        common = {
            "kernel_initializer": self.kernel_initializer,
            "norm_momentum": self.norm_momentum,
            "norm_epsilon": self.norm_epsilon,
            "dtype": self.dtype_policy,
        }
        block = []
        if self.expanded_filters != channels:
            block.append(
                ConvNorm2D(self.expanded_filters, 1, activation=self.activation, name="expand", **common),
            )
        block.append(
            DepthwiseConvNorm2D(
                self.kernel_size,
                strides=self.strides,
                rate=self.rate,
                activation=self.activation,
                name="depthwise",
                **common,
            )
        )
        if self.squeeze_filters is not None:
            block.append(
                SqueezeExcitation(
                    self.squeeze_filters,
                    kernel_initializer=self.kernel_initializer,
                    dtype=self.dtype_policy,
                    name="squeeze_excitation",
                )
            )
        block.append(ConvNorm2D(self.filters, 1, activation=None, name="project", **common))
        self.block = block
        self.adds_input = self.residual and self.strides == 1 and channels == self.filters
        for layer in block:
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)
        self.built = True

    def call(self, inputs, training=None):
        features = inputs
        for layer in self.block:
            if isinstance(layer, SqueezeExcitation):
                features = layer(features)
            else:
                features = layer(features, training=training)
        return features + inputs if self.adds_input else features

    def compute_output_shape(self, input_shape):
        batch, *sizes, _ = input_shape
        return (batch, *(None if size is None else -(-size // self.strides) for size in sizes), self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "expanded_filters": self.expanded_filters,
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "rate": self.rate,
            "squeeze_filters": self.squeeze_filters,
            "residual": self.residual,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "norm_momentum": self.norm_momentum,
            "norm_epsilon": self.norm_epsilon,
        }
