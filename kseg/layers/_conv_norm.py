"""What dense and depthwise convolutions with normalisation and activation share."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg.layers import _folding
from kseg.layers.conv_block import fresh_initializer
from kseg.layers.native_layer import NativeLayer


class ConvNorm(NativeLayer):
    """A convolution padded alike on both sides, then batch normalisation, then an activation.

    A subclass says what comes out of so many channels (`output_channels`), which kernel that takes (`kernel_shape`) and
    how it is applied (`convolve`).
    """

    def __init__(
        self,
        kernel_size,
        strides,
        rate,
        norm,
        activation,
        use_bias,
        kernel_initializer,
        norm_momentum,
        norm_epsilon,
        filters=1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        _folding.check_convolution_arguments(filters=filters, norm=norm, rate=rate)
        if any(size % 2 == 0 for size in _folding.kernel_pair(kernel_size)):
            raise ValueError(f"kernel_size must be odd, to be padded alike on both sides; got {kernel_size!r}")
        if not isinstance(strides, int) or isinstance(strides, bool) or strides < 1:
            raise ValueError(f"strides must be a positive int; got {strides!r}")
        self.dilated = max(_folding.as_rate(rate)) > 1
        if self.dilated and strides > 1:
            raise ValueError(f"rate={rate!r} needs strides=1; got strides={strides}")
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

    def output_channels(self, channels):
        """The number of output channels for so many input channels."""
        raise NotImplementedError

    def kernel_shape(self, channels):
        """The shape of the kernel for so many input channels."""
        raise NotImplementedError

    def initializer(self):
        """What draws the kernel."""
        return fresh_initializer(self.kernel_initializer)

    def convolve(self, inputs, kernel):
        """The convolution and nothing else."""
        raise NotImplementedError

    def fold_into(self, kernel, scale):
        """The kernel with each output channel scaled."""
        return kernel * scale

    def build(self, input_shape):
        channels = input_shape[-1]
        self.kernel = self.add_weight(shape=self.kernel_shape(channels), initializer=self.initializer(), name="kernel")
        self.bias = None
        if self.use_bias or (self.use_bias is None and self.batch_norm is None):
            self.bias = self.add_weight(shape=(self.output_channels(channels),), initializer="zeros", name="bias")
        if self.batch_norm is not None:
            self.batch_norm.build(self.compute_output_shape(input_shape))
        self.built = True

    def call(self, inputs, training=None):
        if self.batch_norm is None:
            scale, offset = None, self.bias
        elif _folding.uses_batch_statistics(self.batch_norm, training):
            features = self.apply(inputs, offset=self.bias)
            return self.activation(_folding.normalize_batch(self.batch_norm, features))
        else:
            scale, offset = _folding.fold(self.batch_norm)
            if self.bias is not None:
                offset += scale * tf.cast(self.bias, scale.dtype)
        return self.apply(inputs, scale, offset, self.activation)

    def apply(self, inputs, scale=None, offset=None, activation=keras.activations.linear):
        """The convolution, each output channel scaled and shifted, and the activation."""
        kernel = tf.convert_to_tensor(self.kernel)
        if scale is not None:
            kernel = tf.cast(self.fold_into(tf.cast(kernel, scale.dtype), scale), kernel.dtype)
        features = self.convolve(inputs, kernel)
        if offset is not None:
            features = tf.nn.bias_add(features, tf.cast(offset, features.dtype))
        return activation(features)

    def compute_output_shape(self, input_shape):
        batch, *sizes, channels = input_shape
        sizes = [None if size is None else -(-size // self.strides) for size in sizes]
        return (batch, *sizes, self.output_channels(channels))

    def get_config(self):
        return {
            **super().get_config(),
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


def both_sides(kernel_size):
    """Padding of `kernel_size // 2` on every side, as TensorFlow's convolutions take it."""
    return [[0, 0], *([size // 2, size // 2] for size in _folding.kernel_pair(kernel_size)), [0, 0]]
