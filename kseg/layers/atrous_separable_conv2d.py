"""Depthwise dilated convolution and pointwise convolution, each with normalisation and activation."""

from __future__ import annotations

import keras

import kseg_ops
from kseg.layers import _folding
from kseg.layers._depthwise_initializer import DepthwiseInitializer
from kseg.layers.conv_block import fresh_initializer
from kseg.layers.native_layer import NativeLayer
from kseg_ops import AsppBranch, atrous_conv2d


@keras.saving.register_keras_serializable(package="kseg")
class AtrousSeparableConv2D(NativeLayer):
    """A depthwise dilated convolution and a pointwise one, each followed by batch normalisation and an activation.

    At inference everything is one call of `kseg_ops.atrous_separable_conv2d`, with both normalisations folded in.
    Training normalises with the statistics of the batch.

    Source: Chen et al. 2018, https://arxiv.org/abs/1802.02611, whose separable convolutions have normalisation and ReLU
    after both parts. `depthwise_norm=None, depthwise_activation=None` has them at the end only.

    Args:
        filters: output channels.
        kernel_size: of the depthwise part, int or (rows, columns).
        rate: how far apart its taps lie: an int, or (rows, columns).
        padding: `"same"` or `"valid"` (which takes `rate * (kernel_size - 1)` pixels away).
        depth_multiplier: depthwise filters per input channel.
        norm: `"batch"` or None, after the pointwise part. There is a bias only without one.
        activation: name or callable, after the pointwise part. Linear, ReLU, ReLU6, hard sigmoid and hard SiLU are part
            of the fused call; any other follows it.
        depthwise_norm: `"batch"` or None, after the depthwise part, which never has a bias.
        depthwise_activation: after the depthwise part; one of those of the fused call.
        kernel_initializer: as in Keras, of both parts.
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
        >>> features = AtrousSeparableConv2D(256, rate=12)(keras.Input((None, None, 2048)))
    """

    native_ops = ("atrous_conv2d", "atrous_separable_conv2d", "depthwise_atrous_conv2d")

    def __init__(
        self,
        filters,
        kernel_size=3,
        rate=1,
        padding="same",
        depth_multiplier=1,
        norm="batch",
        activation="relu",
        depthwise_norm="batch",
        depthwise_activation="relu",
        kernel_initializer="he_normal",
        norm_momentum=0.9,
        norm_epsilon=1e-3,
        **kwargs,
    ):
        super().__init__(**kwargs)
        _folding.check_convolution_arguments(filters=filters, norm=norm, rate=rate, padding=padding)
        _folding.kernel_pair(kernel_size)
        if depthwise_norm not in ("batch", None):
            raise ValueError(f'depthwise_norm must be "batch" or None; got {depthwise_norm!r}')
        if not isinstance(depth_multiplier, int) or isinstance(depth_multiplier, bool) or depth_multiplier < 1:
            raise ValueError(f"depth_multiplier must be a positive int; got {depth_multiplier!r}")
        self.filters = filters
        self.kernel_size = kernel_size
        self.rate = rate
        self.padding = padding
        self.depth_multiplier = depth_multiplier
        self.norm = norm
        self.activation = keras.activations.get(activation)
        self.depthwise_norm = depthwise_norm
        self.depthwise_activation = keras.activations.get(depthwise_activation)
        if _folding.fused_name(self.depthwise_activation) is None:
            raise ValueError(
                "depthwise_activation must be None, 'relu', 'relu6', 'hard_sigmoid' or 'hard_silu'; got "
                f"{depthwise_activation!r}"
            )
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.norm_momentum = norm_momentum
        self.norm_epsilon = norm_epsilon
        self.batch_norm = _folding.batch_norm(norm, self.dtype_policy, "norm", norm_momentum, norm_epsilon)
        self.depthwise_batch_norm = _folding.batch_norm(
            depthwise_norm, self.dtype_policy, "depthwise_norm", norm_momentum, norm_epsilon
        )

    def build(self, input_shape):
        channels = input_shape[-1]
        between = channels * self.depth_multiplier
        self.depthwise_kernel = self.add_weight(
            shape=(*_folding.kernel_pair(self.kernel_size), channels, self.depth_multiplier),
            initializer=DepthwiseInitializer(self.kernel_initializer),
            name="depthwise_kernel",
        )
        self.pointwise_kernel = self.add_weight(
            shape=(1, 1, between, self.filters),
            initializer=fresh_initializer(self.kernel_initializer),
            name="pointwise_kernel",
        )
        self.bias = None
        if self.batch_norm is None:
            self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias", autocast=False)
        else:
            self.batch_norm.build((*input_shape[:-1], self.filters))
        if self.depthwise_batch_norm is not None:
            self.depthwise_batch_norm.build((*input_shape[:-1], between))
        self.built = True

    def call(self, inputs, training=None):
        if _folding.uses_batch_statistics(self.depthwise_batch_norm, training) or _folding.uses_batch_statistics(
            self.batch_norm, training
        ):
            return self._step_by_step(inputs, training)
        weights = self.as_branch()
        features = kseg_ops.atrous_separable_conv2d(
            inputs,
            weights.depthwise,
            weights.filters,
            self.rate,
            depthwise_scale=weights.depthwise_scale,
            depthwise_offset=weights.depthwise_offset,
            depthwise_activation=weights.depthwise_activation,
            scale=weights.scale,
            offset=weights.offset,
            activation=weights.activation,
            padding=self.padding,
        )
        return features if weights.activation else self.activation(features)

    def _step_by_step(self, inputs, training):
        features = kseg_ops.depthwise_atrous_conv2d(inputs, self.depthwise_kernel, self.rate, self.padding)
        if self.depthwise_batch_norm is not None:
            features = _folding.normalize(self.depthwise_batch_norm, features, training)
        features = self.depthwise_activation(features)
        features = atrous_conv2d(features, self.pointwise_kernel, bias=self.bias)
        if self.batch_norm is not None:
            features = _folding.normalize(self.batch_norm, features, training)
        return self.activation(features)

    def as_branch(self):
        """The weights at inference as `kseg_ops.AsppBranch`; its activation is None where the ops have no such."""
        scale, offset = (None, self.bias) if self.batch_norm is None else _folding.fold(self.batch_norm)
        between = (None, None) if self.depthwise_batch_norm is None else _folding.fold(self.depthwise_batch_norm)
        return AsppBranch(
            self.pointwise_kernel,
            scale,
            offset,
            _folding.fused_name(self.activation),
            self.rate,
            self.depthwise_kernel,
            *between,
            _folding.fused_name(self.depthwise_activation),
        )

    def compute_output_shape(self, input_shape):
        return _folding.convolved_shape(input_shape, self.kernel_size, self.rate, self.padding, self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "rate": self.rate,
            "padding": self.padding,
            "depth_multiplier": self.depth_multiplier,
            "norm": self.norm,
            "activation": keras.activations.serialize(self.activation),
            "depthwise_norm": self.depthwise_norm,
            "depthwise_activation": keras.activations.serialize(self.depthwise_activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "norm_momentum": self.norm_momentum,
            "norm_epsilon": self.norm_epsilon,
        }
