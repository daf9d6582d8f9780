"""One level down the contracting path."""

from __future__ import annotations

import keras

from kseg.layers.conv_block import ConvBlock


@keras.saving.register_keras_serializable(package="kseg")
class DownBlock(keras.layers.Layer):
    """Halves height and width by 2x2 max pooling (an odd last row or column is dropped), then a `ConvBlock`.

    Source: the contracting path of the U-Net, https://arxiv.org/abs/1505.04597.

    Args:
        filters: output channels.
        norm: `"batch"`, `"group"` or None.
        activation: name or callable.
        dropout: rate of the dropout at the end.
        padding: `"same"` or `"valid"`.
        kernel_initializer: as in Keras.
        **kwargs: `name`, `dtype`.

    Call arguments:
        inputs: `(B, H, W, C)`.
        training: whether normalisation and dropout run in training mode.

    Returns:
        `(B, H // 2, W // 2, filters)`, 4 pixels less each way under `padding="valid"`.

    Raises:
        ValueError: as `ConvBlock`.
    """

    def __init__(
        self,
        filters,
        norm="batch",
        activation="relu",
        dropout=0.0,
        padding="same",
        kernel_initializer="he_normal",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.pool = keras.layers.MaxPooling2D(2, dtype=self.dtype_policy, name="pool")
        self.block = ConvBlock(
            filters,
            norm=norm,
            activation=activation,
            dropout=dropout,
            padding=padding,
            kernel_initializer=kernel_initializer,
            dtype=self.dtype_policy,
            name="block",
        )

    def build(self, input_shape):
        self.pool.build(input_shape)
        self.block.build(self.pool.compute_output_shape(input_shape))
        self.built = True

    def call(self, inputs, training=None):
        return self.block(self.pool(inputs), training=training)

    def compute_output_shape(self, input_shape):
        return self.block.compute_output_shape(self.pool.compute_output_shape(input_shape))

    def get_config(self):
        block = self.block.get_config()
        names = ("filters", "norm", "activation", "dropout", "padding", "kernel_initializer")
        return {**super().get_config(), **{name: block[name] for name in names}}
