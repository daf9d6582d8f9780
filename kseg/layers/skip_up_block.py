"""One step up a decoder: nearest upsampling, skips, two convolutions."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg.layers.conv_block import fresh_initializer
from kseg.layers.conv_norm2d import ConvNorm2D
from kseg.layers.resize_to import ResizeTo


@keras.saving.register_keras_serializable(package="kseg")
class SkipUpBlock(keras.layers.Layer):
    """Resizes features to the size of a skip, joins both, and convolves twice.

    The block of the decoders of U-Net and U-Net++ that are put on classification networks: pixels repeat (nearest
    interpolation), and two 3 x 3 convolutions follow, each with batch normalisation and an activation.

    Args:
        filters: output channels of both convolutions.
        join: whether the other inputs are joined to the resized features; False takes only the size of the first of
            them, where a step has no skip.
        norm: `"batch"` or None. The convolutions have a bias only without one.
        activation: name or callable, as in Keras.
        kernel_initializer: as in Keras.
        norm_momentum: of the moving averages.
        norm_epsilon: added to the variance.
        **kwargs: `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: `[features, skip, ...]`, `(B, h, w, C)` and one or more skips `(B, H, W, D)` of one size, joined in
            this order.
        training: whether normalisation takes the statistics of the batch.

    Returns:
        `(B, H, W, filters)` in the compute dtype.

    Raises:
        ValueError: an argument outside its range.

    Example:
        >>> deep, skip = keras.Input((None, None, 512)), keras.Input((None, None, 256))
        >>> features = SkipUpBlock(256)([deep, skip])
    """

    def __init__(
        self,
        filters,
        join=True,
        norm="batch",
        activation="relu",
        kernel_initializer="he_normal",
        norm_momentum=0.9,
        norm_epsilon=1e-5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.join = join
        self.norm = norm
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.norm_momentum = norm_momentum
        self.norm_epsilon = norm_epsilon
        self.resize = ResizeTo("nearest", dtype=self.dtype_policy, name="resize")
        self.conv1, self.conv2 = (
            ConvNorm2D(
                filters,
                norm=norm,
                activation=self.activation,
                kernel_initializer=fresh_initializer(self.kernel_initializer),
                norm_momentum=norm_momentum,
                norm_epsilon=norm_epsilon,
                dtype=self.dtype_policy,
                name=name,
            )
            for name in ("conv1", "conv2")
        )

    def build(self, input_shape):
        features, *skips = input_shape
        channels = features[-1] + sum(skip[-1] for skip in skips if self.join)
        joined = (*skips[0][:-1], channels)
        self.conv1.build(joined)
        self.conv2.build(self.conv1.compute_output_shape(joined))
        self.built = True

    def call(self, inputs, training=None):
        features, *skips = inputs
        features = self.resize([features, skips[0]])
        if self.join:
            features = tf.concat([features, *skips], axis=-1)
        return self.conv2(self.conv1(features, training=training), training=training)

    def compute_output_shape(self, input_shape):
        return (*input_shape[1][:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "join": self.join,
            "norm": self.norm,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "norm_momentum": self.norm_momentum,
            "norm_epsilon": self.norm_epsilon,
        }
