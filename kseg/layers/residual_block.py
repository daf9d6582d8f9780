"""The blocks of residual networks."""

from __future__ import annotations

import keras

from kseg.layers import _folding
from kseg.layers.conv_block import fresh_initializer
from kseg.layers.conv_norm2d import ConvNorm2D

BOTTLENECK_EXPANSION = 4


@keras.saving.register_keras_serializable(package="kseg")
class ResidualBlock(keras.layers.Layer):
    """Two or three convolutions, added to what came in.

    The basic form has two 3 x 3 convolutions, `filters` channels each. The bottleneck has a 1 x 1 convolution to
    `filters` channels, a 3 x 3 one, and a 1 x 1 one to `4 * filters`; the strides are on the 3 x 3 one. What comes in
    is brought to another size or number of channels by a 1 x 1 convolution with normalisation. The activation follows
    every convolution but the last, and the sum.

    Source: He et al. 2015, "Deep Residual Learning for Image Recognition", https://arxiv.org/abs/1512.03385, with the
    strides where later implementations have them.

    Args:
        filters: channels inside the block.
        bottleneck: whether the block is the bottleneck.
        strides: an int.
        rate: dilation of the 3 x 3 convolutions; above 1 it excludes strides.
        activation: name or callable, as in Keras.
        kernel_initializer: as in Keras.
        norm_momentum: of the moving averages.
        norm_epsilon: added to the variance.
        **kwargs: `name`, `dtype`, `trainable`.

    Attributes:
        conv1, conv2, conv3: the convolutions, `ConvNorm2D`; `conv3` is None in the basic form.
        downsample: the convolution of what comes in; None before the block is built and where nothing is to change.

    Call arguments:
        inputs: `(B, H, W, C)`.
        training: whether normalisation takes the statistics of the batch.

    Returns:
        `(B, ceil(H / strides), ceil(W / strides), filters or 4 * filters)` in the compute dtype.

    Raises:
        ValueError: an argument outside its range.

    Example:
        >>> features = ResidualBlock(64, strides=2)(keras.Input((None, None, 128)))
    """

    def __init__(
        self,
        filters,
        bottleneck=True,
        strides=1,
        rate=1,
        activation="relu",
        kernel_initializer="he_normal",
        norm_momentum=0.9,
        norm_epsilon=1e-5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        _folding.check_convolution_arguments(filters=filters, norm="batch", rate=rate)
        self.filters = filters
        self.bottleneck = bottleneck
        self.strides = strides
        self.rate = rate
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.norm_momentum = norm_momentum
        self.norm_epsilon = norm_epsilon
        self.output_filters = filters * BOTTLENECK_EXPANSION if bottleneck else filters
        if bottleneck:
            self.conv1 = self._convolution("conv1", filters, 1)
            self.conv2 = self._convolution("conv2", filters, 3, strides=strides, rate=rate)
            self.conv3 = self._convolution("conv3", self.output_filters, 1, activated=False)
        else:
            self.conv1 = self._convolution("conv1", filters, 3, strides=strides, rate=rate)
            self.conv2 = self._convolution("conv2", filters, 3, rate=rate, activated=False)
            self.conv3 = None
        self.downsample = None

    def _convolution(self, name, filters, kernel_size, activated=True, **options):
        return ConvNorm2D(
            filters,
            kernel_size,
            activation=self.activation if activated else None,
            kernel_initializer=fresh_initializer(self.kernel_initializer),
            norm_momentum=self.norm_momentum,
            norm_epsilon=self.norm_epsilon,
            dtype=self.dtype_policy,
            name=name,
            **options,
        )

    def build(self, input_shape):
        if self.strides != 1 or input_shape[-1] != self.output_filters:
            self.downsample = self._convolution(
                "downsample", self.output_filters, 1, activated=False, strides=self.strides
            )
            self.downsample.build(input_shape)
        shape = input_shape
        for convolution in self._convolutions():
            convolution.build(shape)
            shape = convolution.compute_output_shape(shape)
        self.built = True

    def _convolutions(self):
        return [convolution for convolution in (self.conv1, self.conv2, self.conv3) if convolution is not None]

    def call(self, inputs, training=None):
        shortcut = inputs if self.downsample is None else self.downsample(inputs, training=training)
        features = inputs
        for convolution in self._convolutions():
            features = convolution(features, training=training)
        return self.activation(features + shortcut)

    def compute_output_shape(self, input_shape):
        batch, *sizes, _ = input_shape
        sizes = [None if size is None else -(-size // self.strides) for size in sizes]
        return (batch, *sizes, self.output_filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "bottleneck": self.bottleneck,
            "strides": self.strides,
            "rate": self.rate,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "norm_momentum": self.norm_momentum,
            "norm_epsilon": self.norm_epsilon,
        }
