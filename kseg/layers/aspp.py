"""Atrous spatial pyramid pooling."""

from __future__ import annotations

import keras
import tensorflow as tf

import kseg_ops
from kseg._class_arguments import is_finite_number
from kseg.layers import _folding
from kseg.layers.atrous_conv2d import AtrousConv2D
from kseg.layers.atrous_separable_conv2d import AtrousSeparableConv2D
from kseg.layers.conv_block import fresh_initializer
from kseg.layers.native_layer import NativeLayer


@keras.saving.register_keras_serializable(package="kseg")
class ASPP(NativeLayer):
    """Atrous spatial pyramid pooling: one map seen at several scales.

    A 1 x 1 convolution, a 3 x 3 one for each rate and the mean of the image, each with batch normalisation and an
    activation, are concatenated (the pooled branch last, resized from its one pixel to the size of the map) and
    projected by a 1 x 1 convolution. At inference everything is one call of `kseg_ops.aspp`; training composes the
    layers, whose normalisations take the statistics of the batch.

    Source: Chen et al. 2017, "Rethinking Atrous Convolution for Semantic Image Segmentation",
    https://arxiv.org/abs/1706.05587; separable as in Chen et al. 2018, https://arxiv.org/abs/1802.02611. The rates
    (6, 12, 18) are for output stride 16; double them for output stride 8.

    Args:
        filters: output channels of every branch and of the projection.
        rates: one 3 x 3 branch for each; ints, or pairs for rows and columns.
        separable: whether those branches are depthwise separable.
        dropout: rate of the dropout at the end; 0 is none.
        image_pooling: whether there is the branch with the mean of the image. Its batch normalisation sees one pixel
            per image: in training the batch must be larger than 1 for it to mean anything.
        norm: `"batch"` or None. The convolutions have a bias only without one.
        activation: name or callable, as in Keras, after every convolution; of separable branches only those that
            `AtrousSeparableConv2D` can have in the middle.
        kernel_initializer: as in Keras.
        norm_momentum: of the moving averages.
        norm_epsilon: added to the variance.
        norm_between: whether separable branches have normalisation and activation after the depthwise part too, as
            published; segmentation-models-pytorch has them after the pointwise part only.
        **kwargs: `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: `(B, H, W, C)`, any size from one pixel up.
        training: whether normalisation takes the statistics of the batch, and dropout runs.

    Returns:
        `(B, H, W, filters)` in the compute dtype.

    Raises:
        ValueError: an argument outside its range.

    Example:
        >>> features = ASPP(256, rates=(6, 12, 18))(keras.Input((None, None, 2048)))
    """

    native_ops = ("aspp", "atrous_conv2d", "atrous_separable_conv2d", "depthwise_atrous_conv2d")

    def __init__(
        self,
        filters=256,
        rates=(6, 12, 18),
        separable=False,
        dropout=0.1,
        image_pooling=True,
        norm="batch",
        activation="relu",
        kernel_initializer="he_normal",
        norm_momentum=0.9,
        norm_epsilon=1e-3,
        norm_between=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not isinstance(rates, (list, tuple)):
            raise ValueError(f"rates must be a list of dilation rates, for example (6, 12, 18); got {rates!r}")
        for rate in rates:
            _folding.check_convolution_arguments(filters=filters, norm=norm, rate=rate)
        if not is_finite_number(dropout) or not 0 <= dropout < 1:
            raise ValueError(f"dropout must be a rate in [0, 1); got {dropout!r}")
        self.filters = filters
        self.rates = rates
        self.separable = separable
        self.norm_between = norm_between
        self.dropout = dropout
        self.image_pooling = image_pooling
        self.norm = norm
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.norm_momentum = norm_momentum
        self.norm_epsilon = norm_epsilon

        self.branches = [self._convolution(AtrousConv2D, "branch_0", kernel_size=1)]
        for index, rate in enumerate(rates, start=1):
            kind, options = AtrousConv2D, {}
            if separable:
                kind = AtrousSeparableConv2D
                options = {
                    "depthwise_norm": norm if norm_between else None,
                    "depthwise_activation": self.activation if norm_between else None,
                }
            self.branches.append(self._convolution(kind, f"branch_{index}", kernel_size=3, rate=rate, **options))
        self.pooling = self._convolution(AtrousConv2D, "pooling", kernel_size=1) if image_pooling else None
        self.projection = self._convolution(AtrousConv2D, "projection", kernel_size=1)
        self.drop = keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="dropout") if dropout else None

    def _convolution(self, kind, name, **options):
        return kind(
            self.filters,
            norm=self.norm,
            activation=self.activation,
            kernel_initializer=fresh_initializer(self.kernel_initializer),
            norm_momentum=self.norm_momentum,
            norm_epsilon=self.norm_epsilon,
            dtype=self.dtype_policy,
            name=name,
            **options,
        )

    def build(self, input_shape):
        for branch in self.branches:
            branch.build(input_shape)
        count = len(self.branches)
        if self.pooling is not None:
            self.pooling.build((input_shape[0], 1, 1, input_shape[-1]))
            count += 1
        self.projection.build((*input_shape[:-1], count * self.filters))
        self.built = True

    def call(self, inputs, training=None):
        if training or _folding.fused_name(self.activation) is None:
            return self._step_by_step(inputs, training)
        return kseg_ops.aspp(
            inputs,
            [branch.as_branch() for branch in self.branches],
            self.projection.as_branch(),
            None if self.pooling is None else self.pooling.as_branch(),
        )

    def _step_by_step(self, inputs, training):
        parts = [branch(inputs, training=training) for branch in self.branches]
        if self.pooling is not None:
            wide = tf.float64 if inputs.dtype == tf.float64 else tf.float32
            # Not in 16 bits: a float16 sum over a large map would overflow.
            mean = tf.reduce_mean(tf.cast(inputs, wide), axis=(1, 2), keepdims=True)
            pooled = self.pooling(tf.cast(mean, inputs.dtype), training=training)
            size = tf.shape(inputs)
            parts.append(tf.broadcast_to(pooled, [size[0], size[1], size[2], self.filters]))
        features = self.projection(tf.concat(parts, axis=-1), training=training)
        return features if self.drop is None else self.drop(features, training=training)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "rates": self.rates,
            "separable": self.separable,
            "dropout": self.dropout,
            "image_pooling": self.image_pooling,
            "norm": self.norm,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "norm_momentum": self.norm_momentum,
            "norm_epsilon": self.norm_epsilon,
            "norm_between": self.norm_between,
        }
