"""Weights that make a transposed convolution interpolate."""

from __future__ import annotations

import keras
import numpy as np


@keras.saving.register_keras_serializable(package="kseg")
class BilinearInitializer(keras.initializers.Initializer):
    """Weights with which a transposed convolution of stride s and size 2 s enlarges each channel bilinearly.

    Source: Long, Shelhamer, Darrell 2015, "Fully Convolutional Networks for Semantic Segmentation",
    https://arxiv.org/abs/1411.4038, whose networks begin so and learn on.

    Call arguments:
        shape: `(rows, columns, output channels, input channels)` with as many channels on both sides.

    Raises:
        ValueError: other numbers of channels on both sides.

    Example:
        >>> layer = keras.layers.Conv2DTranspose(21, 4, 2, use_bias=False, kernel_initializer=BilinearInitializer())
    """

    def __call__(self, shape, dtype=None):
        rows, columns, outputs, inputs = shape
        if outputs != inputs:
            raise ValueError(f"a bilinear kernel must keep the number of channels; got {inputs} -> {outputs}")
        weights = _triangle(rows)[:, None] * _triangle(columns)[None, :]
        kernel = weights[:, :, None, None] * np.eye(outputs)
        return keras.ops.convert_to_tensor(kernel, dtype=dtype)


def _triangle(size):
    factor = (size + 1) // 2
    center = (size - 1) / 2
    return 1 - np.abs(np.arange(size) - center) / factor
