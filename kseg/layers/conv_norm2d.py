"""Convolution, batch normalisation and activation, padded alike on both sides."""

from __future__ import annotations

import keras
import tensorflow as tf

import kseg_ops
from kseg.layers import _folding
from kseg.layers.conv_block import fresh_initializer
from kseg.layers.native_layer import NativeLayer


@keras.saving.register_keras_serializable(package="kseg")
class ConvNorm2D(NativeLayer):
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
        super().__init__(**kwargs)
        _folding.check_convolution_arguments(filters=filters, norm=norm, rate=rate)
        if any(size % 2 == 0 for size in _folding.kernel_pair(kernel_size)):
            raise ValueError(f"kernel_size must be odd, to be padded alike on both sides; got {kernel_size!r}")
        if not isinstance(strides, int) or isinstance(strides, bool) or strides < 1:
            raise ValueError(f"strides must be a positive int; got {strides!r}")
        self._dilated = max(_folding.as_rate(rate)) > 1
        if self._dilated and strides > 1:
            raise ValueError(f"rate={rate!r} needs strides=1; got strides={strides}")
        if not self._dilated:
            self.supports_jit = True
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.rate = rate
        self.norm = norm
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.norm_momentum = norm_momentum
        self.norm_epsilon = norm_epsilon
        self.batch_norm = _folding.batch_norm(norm, self.dtype_policy, "norm", norm_momentum, norm_epsilon)

    def build(self, input_shape):
        self.kernel = self.add_weight(
            shape=(*_folding.kernel_pair(self.kernel_size), input_shape[-1], self.filters),
            initializer=fresh_initializer(self.kernel_initializer),
            name="kernel",
        )
        self.bias = None
        if self.use_bias or (self.use_bias is None and self.batch_norm is None):
            self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")
        if self.batch_norm is not None:
            self.batch_norm.build(self.compute_output_shape(input_shape))
        self.built = True

    def call(self, inputs, training=None):
        if self.batch_norm is None:
            scale, offset = None, self.bias
        elif _folding.uses_batch_statistics(self.batch_norm, training):
            features = self._convolve(inputs, offset=self.bias)
            return self.activation(self.batch_norm(features, training=True))
        else:
            scale, offset = _folding.fold(self.batch_norm)
            if self.bias is not None:
                offset += scale * tf.cast(self.bias, scale.dtype)
        fused = _folding.fused_name(self.activation)
        features = self._convolve(inputs, scale, offset, fused or "linear")
        return features if fused else self.activation(features)

    def _convolve(self, inputs, scale=None, offset=None, activation="linear"):
        kernel = tf.convert_to_tensor(self.kernel)
        if self._dilated:
            return kseg_ops.atrous_conv2d(inputs, kernel, self.rate, scale=scale, offset=offset, activation=activation)
        if scale is not None:
            kernel = tf.cast(tf.cast(kernel, scale.dtype) * scale, kernel.dtype)
        sides = [size // 2 for size in _folding.kernel_pair(self.kernel_size)]
        features = tf.nn.conv2d(inputs, kernel, self.strides, [[0, 0], *([side, side] for side in sides), [0, 0]])
        if offset is not None:
            features = tf.nn.bias_add(features, tf.cast(offset, features.dtype))
        return features if activation == "linear" else self.activation(features)

    def compute_output_shape(self, input_shape):
        batch, *sizes, _ = input_shape
        sizes = [None if size is None else -(-size // self.strides) for size in sizes]
        return (batch, *sizes, self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "rate": self.rate,
            "norm": self.norm,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "norm_momentum": self.norm_momentum,
            "norm_epsilon": self.norm_epsilon,
        }
