"""Pyramid pooling: one map seen at several scales."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg.layers import _folding
from kseg.layers._interpolation import averaging_matrix, interpolation_matrix
from kseg.layers.conv_block import fresh_initializer
from kseg.layers.conv_norm2d import ConvNorm2D


@keras.saving.register_keras_serializable(package="kseg")
class PyramidPooling(keras.layers.Layer):
    """Averages a map over grids of several sizes, and joins what they say to it.

    For every size `n` the map is averaged over `n x n` bins, which a 1 x 1 convolution takes to
    `channels // len(sizes)` channels; they are resized to the map (bilinear, corners aligned), joined in front of it
    and projected by a 1 x 1 convolution. Bin `i` of `n` goes from row `floor(i * H / n)` to row
    `ceil((i + 1) * H / n)`, so that bins overlap where `n` does not divide `H`.

    Resizing and the projection commute, so the projection runs on the bins, and the joined map never exists.

    Source: Zhao et al. 2017, "Pyramid Scene Parsing Network", https://arxiv.org/abs/1612.01105.

    Args:
        filters: output channels.
        sizes: bins per side, one grid for each.
        norm: `"batch"` or None. Convolutions have a bias only without one. The grid of size 1 never has a
            normalisation, whose statistics in training would be those of one pixel per image.
        activation: name or callable, as in Keras, after every convolution.
        kernel_initializer: as in Keras.
        norm_momentum: of the moving averages.
        norm_epsilon: added to the variance.
        **kwargs: `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: `(B, H, W, C)`, any size from one pixel up.
        training: whether normalisation takes the statistics of the batch.

    Returns:
        `(B, H, W, filters)` in the compute dtype. Averages are taken in float32 at least.

    Raises:
        ValueError: sizes that are no list of positive ints; fewer channels than sizes.

    Example:
        >>> features = PyramidPooling(512)(keras.Input((None, None, 2048)))
    """

    def __init__(
        self,
        filters=512,
        sizes=(1, 2, 3, 6),
        norm="batch",
        activation="relu",
        kernel_initializer="he_normal",
        norm_momentum=0.9,
        norm_epsilon=1e-5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        is_list = isinstance(sizes, (list, tuple)) and len(sizes) > 0
        if not is_list or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in sizes):
            raise ValueError(f"sizes must be a list of positive ints, for example (1, 2, 3, 6); got {sizes!r}")
        self.filters = filters
        self.sizes = sizes
        self.norm = norm
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.norm_momentum = norm_momentum
        self.norm_epsilon = norm_epsilon
        self.projection = self._convolution(filters, norm, "projection")
        self.blocks = []  # whose channels follow from the input's

    def _convolution(self, filters, norm, name):
        return ConvNorm2D(
            filters,
            1,
            norm=norm,
            activation=self.activation,
            kernel_initializer=fresh_initializer(self.kernel_initializer),
            norm_momentum=self.norm_momentum,
            norm_epsilon=self.norm_epsilon,
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, input_shape):
        batch, height, width, channels = input_shape
        share = channels // len(self.sizes)
        if share < 1:
            raise ValueError(
                f"inputs must have at least as many channels as there are sizes, {len(self.sizes)}; got {channels}"
            )
        if not self.blocks:
            for index, size in enumerate(self.sizes):
                block = self._convolution(share, None if size == 1 else self.norm, f"blocks_{index}")
                self.blocks.append(block)
        for block, size in zip(self.blocks, self.sizes, strict=True):
            block.build((batch, size, size, channels))
        self.projection.build((batch, height, width, share * len(self.sizes) + channels))
        self.built = True

    def call(self, inputs, training=None):
        projection = self.projection
        if projection.batch_norm is None:
            scale, offset = None, projection.bias
        elif _folding.uses_batch_statistics(projection.batch_norm, training):
            scale, offset = None, None
        else:
            scale, offset = _folding.fold(projection.batch_norm)
        kernel = tf.convert_to_tensor(projection.kernel)
        if scale is not None:
            kernel = tf.cast(tf.cast(kernel, scale.dtype) * scale, kernel.dtype)
        share = self.blocks[0].filters
        *parts, whole = tf.split(kernel, [*[share] * len(self.sizes), inputs.shape[-1]], axis=2)

        features = tf.nn.conv2d(inputs, whole, 1, "VALID")
        scales = self._scales(inputs, parts, training)
        features += tf.cast(scales, features.dtype)
        if offset is not None:
            features = tf.nn.bias_add(features, tf.cast(offset, features.dtype))
        elif projection.batch_norm is not None:
            features = _folding.normalize_batch(projection.batch_norm, features)
        return self.activation(features)

    def _scales(self, inputs, kernels, training):
        """What the grids add to the projection, `(B, H, W, filters)`."""
        wide = tf.float64 if inputs.dtype == tf.float64 else tf.float32  # sums over a map overflow float16
        height, width = tf.shape(inputs)[1], tf.shape(inputs)[2]
        # All grids share the pass over the rows of the map, which is the one that reads it.
        bins = tf.concat([averaging_matrix(size, height, wide) for size in self.sizes], axis=0)
        rows = tf.einsum("nh,bhwc->bnwc", bins, tf.cast(inputs, wide))
        stretched = []
        for size, part, block, kernel in zip(
            self.sizes, tf.split(rows, self.sizes, axis=1), self.blocks, kernels, strict=True
        ):
            grid = tf.einsum("mw,bnwc->bnmc", averaging_matrix(size, width, wide), part)
            grid = block(tf.cast(grid, inputs.dtype), training=training)
            grid = tf.cast(tf.nn.conv2d(grid, kernel, 1, "VALID"), wide)
            stretched.append(tf.einsum("wm,bnmf->bnwf", interpolation_matrix(size, width, wide, True), grid))
        weights = tf.concat([interpolation_matrix(size, height, wide, True) for size in self.sizes], axis=1)
        return tf.einsum("hn,bnwf->bhwf", weights, tf.concat(stretched, axis=1))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "sizes": self.sizes,
            "norm": self.norm,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "norm_momentum": self.norm_momentum,
            "norm_epsilon": self.norm_epsilon,
        }
