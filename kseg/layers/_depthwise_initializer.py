"""Initial weights of depthwise kernels."""

from __future__ import annotations

import keras

from kseg.layers.conv_block import fresh_initializer


class DepthwiseInitializer(keras.initializers.Initializer):
    """Draws a depthwise kernel `[kh, kw, C, m]` with the fan-in that each output really has, `kh * kw`.

    Keras would count the C channels in, and start the weights smaller by the root of C.
    """

    def __init__(self, inner):
        self.inner = fresh_initializer(inner)

    def __call__(self, shape, dtype=None):
        rows, columns, channels, multiplier = shape
        return keras.ops.reshape(self.inner((rows, columns, 1, channels * multiplier), dtype=dtype), shape)
