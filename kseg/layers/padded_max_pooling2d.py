"""Max pooling, padded alike on both sides."""

from __future__ import annotations

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="kseg")
class PaddedMaxPooling2D(keras.layers.Layer):
    """Max pooling of an image that is padded with `pool_size // 2` pixels on every side, which never win.

    Keras's `padding="same"` pads more at the bottom and the right where the strides are 2 and the size even, and its
    outputs then lie half a pixel off those of the published networks.

    Args:
        pool_size: an odd int.
        strides: an int.
        **kwargs: `name`, `dtype`.

    Call arguments:
        inputs: `(B, H, W, C)`.

    Returns:
        `(B, ceil(H / strides), ceil(W / strides), C)` in the compute dtype.

    Raises:
        ValueError: a pool size that is not odd; strides below 1.

    Example:
        >>> PaddedMaxPooling2D(3, strides=2)(tf.reshape([1.0, 2.0, 3.0, 4.0], (1, 1, 4, 1)))[0, 0, :, 0]
        [2., 4.]
    """

    def __init__(self, pool_size=3, strides=2, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(pool_size, int) or pool_size < 1 or pool_size % 2 == 0:
            raise ValueError(f"pool_size must be an odd int, to pad alike on both sides; got {pool_size!r}")
        if not isinstance(strides, int) or isinstance(strides, bool) or strides < 1:
            raise ValueError(f"strides must be a positive int; got {strides!r}")
        self.pool_size = pool_size
        self.strides = strides

    def call(self, inputs):
        side = [self.pool_size // 2] * 2
        # Padded outside the pooling, whose own explicit padding XLA cannot compile.
        padded = tf.pad(inputs, [[0, 0], side, side, [0, 0]], constant_values=inputs.dtype.min)
        return tf.nn.max_pool2d(padded, self.pool_size, self.strides, "VALID")

    def compute_output_shape(self, input_shape):
        batch, *sizes, channels = input_shape
        sizes = [None if size is None else -(-size // self.strides) for size in sizes]
        return (batch, *sizes, channels)

    def get_config(self):
        return {**super().get_config(), "pool_size": self.pool_size, "strides": self.strides}
