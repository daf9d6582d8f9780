"""Max pooling that also returns where each maximum was."""

from __future__ import annotations

import keras

import kseg_ops
from kseg.layers.native_layer import NativeLayer
from kseg.layers.pooling_geometry import pooled_size, pooling_window


@keras.saving.register_keras_serializable(package="kseg")
class MaxPoolingWithIndices2D(NativeLayer):
    """`keras.layers.MaxPooling2D` with a second output, the places of the maxima, for `MaxUnpooling2D` (SegNet).

    Args:
        pool_size: height and width of the windows, or one int for both.
        strides: distance of the windows, or None for `pool_size`.
        padding: "valid" (the windows that lie inside) or "same" (`ceil(size / stride)` windows).
        **kwargs: `name`, `dtype`.

    Call arguments:
        inputs: `(B, H, W, C)`, floating; sizes may be unknown until run time.

    Returns:
        `(pooled, indices)`, both `(B, h, w, C)`. `pooled` is in the layer's compute dtype; `indices` are int32 under
        every dtype policy: `row * W + column` of each maximum (see `kseg_ops.max_pool_with_indices`).

    Raises:
        TypeError: `pool_size` or `strides` is not of integers.
        ValueError: an argument is out of range.
    """

    native_ops = ("max_pool_with_indices",)

    def __init__(self, pool_size=2, strides=None, padding="valid", **kwargs):
        super().__init__(**kwargs)
        self.pool_size = pool_size
        self.strides = strides
        self.padding = padding
        self._window = pooling_window(pool_size, strides, padding)

    def call(self, inputs):
        pool, strides = self._window
        return kseg_ops.max_pool_with_indices(inputs, pool, strides, self.padding)

    def compute_output_shape(self, input_shape):
        pool, strides = self._window
        batch, height, width, channels = input_shape
        sizes = [
            pooled_size(size, pool[axis], strides[axis], self.padding) for axis, size in enumerate((height, width))
        ]
        shape = (batch, *sizes, channels)
        return shape, shape

    def compute_output_spec(self, inputs):
        shape, _ = self.compute_output_shape(inputs.shape)
        return keras.KerasTensor(shape, dtype=self.compute_dtype), keras.KerasTensor(shape, dtype="int32")

    def get_config(self):
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "strides": self.strides,
            "padding": self.padding,
        }
