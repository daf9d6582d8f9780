"""Squeeze and excitation."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg.layers.conv_norm2d import ConvNorm2D


@keras.saving.register_keras_serializable(package="kseg")
class SqueezeExcitation(keras.layers.Layer):
    """Scales each channel by a factor that a small network computes from the mean of every channel over the image.

    Source: Hu et al. 2018, "Squeeze-and-Excitation Networks", https://arxiv.org/abs/1709.01507; with a hard sigmoid as
    in Howard et al. 2019, https://arxiv.org/abs/1905.02244.

    Args:
        squeeze_filters: channels in the middle of the small network.
        activation: name or callable, as in Keras, in the middle.
        scale_activation: likewise, of the factors.
        kernel_initializer: as in Keras.
        **kwargs: `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: `(B, H, W, C)`.

    Returns:
        `(B, H, W, C)` in the compute dtype.

    Raises:
        ValueError: `squeeze_filters` is no positive int.

    Example:
        >>> features = SqueezeExcitation(16)(keras.Input((None, None, 64)))
    """

    def __init__(
        self,
        squeeze_filters,
        activation="relu",
        scale_activation="hard_sigmoid",
        kernel_initializer="he_normal",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not isinstance(squeeze_filters, int) or isinstance(squeeze_filters, bool) or squeeze_filters < 1:
            raise ValueError(f"squeeze_filters must be a positive int; got {squeeze_filters!r}")
        self.squeeze_filters = squeeze_filters
        self.activation = keras.activations.get(activation)
        self.scale_activation = keras.activations.get(scale_activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.fc1 = self._convolution(squeeze_filters, self.activation, "fc1")

    def _convolution(self, filters, activation, name):
        return ConvNorm2D(
            filters,
            1,
            norm=None,
            activation=activation,
            kernel_initializer=self.kernel_initializer,
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, input_shape):
        channels = input_shape[-1]
        self.fc2 = self._convolution(channels, self.scale_activation, "fc2")
        self.fc1.build((input_shape[0], 1, 1, channels))
        self.fc2.build((input_shape[0], 1, 1, self.squeeze_filters))
        self.built = True

    def call(self, inputs):
        wide = tf.float64 if inputs.dtype == tf.float64 else tf.float32
        # Not in 16 bits: a float16 sum over a large map would overflow.
        mean = tf.reduce_mean(tf.cast(inputs, wide), axis=(1, 2), keepdims=True)
        return inputs * self.fc2(self.fc1(tf.cast(mean, inputs.dtype)))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "squeeze_filters": self.squeeze_filters,
            "activation": keras.activations.serialize(self.activation),
            "scale_activation": keras.activations.serialize(self.scale_activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
