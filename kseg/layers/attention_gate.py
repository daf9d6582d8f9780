"""Additive attention on the skips of a decoder."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg.layers.conv_block import fresh_initializer
from kseg.layers.conv_norm2d import ConvNorm2D
from kseg.layers.native_layer import NativeLayer
from kseg.layers.resize_to import ResizeTo


@keras.saving.register_keras_serializable(package="kseg")
class AttentionGate(NativeLayer):
    """Weighs every pixel of a skip by how well it fits the deeper features, the gating signal.

    ```
    skip -- 2 x 2 convolution, stride 2 ---+
                                           + -- ReLU -- 1 x 1 to one channel -- sigmoid -- resized --> x skip
    gate -- 1 x 1 convolution, resized ----+
    ```

    and a 1 x 1 convolution with batch normalisation of the weighted skip at the end. The coefficients are computed at
    half the size of the skip, as published; resizing is bilinear.

    Source: Oktay et al. 2018, "Attention U-Net: Learning Where to Look for the Pancreas",
    https://arxiv.org/abs/1804.03999, section 2 and figure 2. The convolution at the end is that of the authors'
    network.

    Args:
        filters: channels of the sum; None: as many as the skip has.
        norm_momentum: of the moving averages of the batch normalisation.
        norm_epsilon: added to the variance.
        kernel_initializer: as in Keras.
        **kwargs: `name`, `dtype`, `trainable`.

    Call arguments:
        inputs: `[skip, gate]`, `(B, H, W, C)` and `(B, h, w, D)` of any sizes.
        training: whether normalisation takes the statistics of the batch.

    Returns:
        `(B, H, W, C)` in the compute dtype.

    Raises:
        ValueError: filters that are no positive int.

    Example:
        >>> skip, gate = keras.Input((None, None, 64)), keras.Input((None, None, 128))
        >>> gated = AttentionGate()([skip, gate])
    """

    native_ops = ResizeTo.native_ops

    def __init__(self, filters=None, norm_momentum=0.9, norm_epsilon=1e-5, kernel_initializer="he_normal", **kwargs):
        super().__init__(**kwargs)
        if filters is not None and (not isinstance(filters, int) or isinstance(filters, bool) or filters < 1):
            raise ValueError(f"filters must be a positive int, or None for those of the skip; got {filters!r}")
        self.filters = filters
        self.norm_momentum = norm_momentum
        self.norm_epsilon = norm_epsilon
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.resize = ResizeTo("bilinear", dtype=self.dtype_policy, name="resize")

    def build(self, input_shape):
        skip, gate = input_shape
        filters = self.filters or skip[-1]

        def options(name):
            initializer = fresh_initializer(self.kernel_initializer)
            return {"kernel_initializer": initializer, "dtype": self.dtype_policy, "name": name}

        # Even sizes are halved without padding; "same" adds a row below where the size is odd.
        self.theta = keras.layers.Conv2D(filters, 2, strides=2, padding="same", use_bias=False, **options("theta"))
        self.phi = keras.layers.Conv2D(filters, 1, **options("phi"))
        self.psi = keras.layers.Conv2D(1, 1, **options("psi"))
        self.projection = ConvNorm2D(
            skip[-1],
            1,
            activation=None,
            norm_momentum=self.norm_momentum,
            norm_epsilon=self.norm_epsilon,
            **options("projection"),
        )
        self.theta.build(skip)
        self.phi.build(gate)
        self.psi.build((*skip[:-1], filters))
        self.projection.build(skip)
        self.built = True

    def call(self, inputs, training=None):
        skip, gate = inputs
        features = self.theta(skip)
        features = tf.nn.relu(features + self.resize([self.phi(gate), features]))
        coefficients = tf.sigmoid(self.psi(features))
        return self.projection(skip * self.resize([coefficients, skip]), training=training)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[0])

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "norm_momentum": self.norm_momentum,
            "norm_epsilon": self.norm_epsilon,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
