"""Dilated convolution, normalisation and activation."""

from __future__ import annotations

import keras

import kseg_ops
from kseg.layers import _folding
from kseg.layers.native_layer import NativeLayer
from kseg_ops import AsppBranch


@keras.saving.register_keras_serializable(package="kseg")
class AtrousConv2D(NativeLayer):
    """A dilated ("atrous") convolution of stride 1, batch normalisation and an activation.

    At inference the normalisation is folded into the convolution, and all three are one call of
    `kseg_ops.atrous_conv2d`. Training normalises with the statistics of the batch, as Keras's own layer does.

    Source: Chen et al. 2017, https://arxiv.org/abs/1706.05587.

    Args:
        filters: output channels.
        kernel_size: int or (rows, columns).
        rate: how far apart the taps lie: an int, or (rows, columns).
        padding: `"same"` or `"valid"` (which takes `rate * (kernel_size - 1)` pixels away).
        norm: `"batch"` or None. There is a bias only without one.
        activation: name or callable, as in Keras. Linear, ReLU, ReLU6, hard sigmoid and hard SiLU are part of the fused
            call; any other follows it.
        kernel_initializer: as in Keras.
        norm_momentum: of the moving averages.
        norm_epsilon: added to the variance.
        **kwargs: `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: `(B, H, W, C)`.
        training: whether normalisation takes the statistics of the batch.

    Returns:
        `(B, H', W', filters)` in the compute dtype.

    Raises:
        ValueError: an argument outside its range.

    Example:
        >>> features = AtrousConv2D(256, rate=6)(keras.Input((None, None, 2048)))
    """

    native_ops = ("atrous_conv2d",)

    def __init__(
        self,
        filters,
        kernel_size=3,
        rate=1,
        padding="same",
        norm="batch",
        activation="relu",
        kernel_initializer="he_normal",
        norm_momentum=0.9,
        norm_epsilon=1e-3,
        **kwargs,
    ):
        super().__init__(**kwargs)
        _folding.check_convolution_arguments(filters=filters, norm=norm, rate=rate, padding=padding)
        _folding.kernel_pair(kernel_size)
        self.filters = filters
        self.kernel_size = kernel_size
        self.rate = rate
        self.padding = padding
        self.norm = norm
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.norm_momentum = norm_momentum
        self.norm_epsilon = norm_epsilon
        self.batch_norm = _folding.batch_norm(norm, self.dtype_policy, "norm", norm_momentum, norm_epsilon)

    def build(self, input_shape):
        shape = (*_folding.kernel_pair(self.kernel_size), input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="kernel")
        self.bias = None
        if self.batch_norm is None:
            self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias", autocast=False)
        else:
            self.batch_norm.build(self.compute_output_shape(input_shape))
        self.built = True

    def call(self, inputs, training=None):
        if _folding.uses_batch_statistics(self.batch_norm, training):
            features = kseg_ops.atrous_conv2d(inputs, self.kernel, self.rate, padding=self.padding)
            return self.activation(_folding.normalize_batch(self.batch_norm, features))
        weights = self.as_branch()
        features = kseg_ops.atrous_conv2d(
            inputs,
            weights.filters,
            self.rate,
            scale=weights.scale,
            offset=weights.offset,
            activation=weights.activation,
            padding=self.padding,
        )
        return features if weights.activation else self.activation(features)

    def as_branch(self):
        """The weights at inference as `kseg_ops.AsppBranch`; its activation is None where the ops have no such."""
        scale, offset = (None, self.bias) if self.batch_norm is None else _folding.fold(self.batch_norm)
        return AsppBranch(self.kernel, scale, offset, _folding.fused_name(self.activation), self.rate)

    def compute_output_shape(self, input_shape):
        return _folding.convolved_shape(input_shape, self.kernel_size, self.rate, self.padding, self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "rate": self.rate,
            "padding": self.padding,
            "norm": self.norm,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "norm_momentum": self.norm_momentum,
            "norm_epsilon": self.norm_epsilon,
        }
