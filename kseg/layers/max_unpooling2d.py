"""Max unpooling: pooled values back to where they came from."""

from __future__ import annotations

import keras
import tensorflow as tf

import kseg_ops
from kseg.layers.native_layer import NativeLayer
from kseg.layers.pooling_geometry import pooling_window, unpooled_size


@keras.saving.register_keras_serializable(package="kseg")
class MaxUnpooling2D(NativeLayer):
    """Undoes `MaxPoolingWithIndices2D` (SegNet): values go where their indices point, the rest is 0.

    Args:
        pool_size: of the pooling that is undone; with `strides` and `padding` it gives the size of the output where
            there is no reference.
        strides: of the pooling, or None for `pool_size`.
        padding: of the pooling.
        **kwargs: `name`, `dtype`.

    Call arguments:
        inputs: `[features, indices]` or `[features, indices, reference]`. `features` and `indices` are `(B, h, w, C)`,
            and `indices` are those of the pooling: `row * W + column` in the width W of what was pooled. Of
            `reference`, `(B, H, W, any)`, only height and width are used: those of the output. Without it they are
            taken to be `(h - 1) * stride + pool` ("valid") or `h * stride` ("same"), which is wrong where pooling left
            rows or columns over: give what was pooled as the reference unless its size is known to be a multiple of
            the stride.

    Returns:
        `(B, H, W, C)` in the layer's compute dtype.

    Raises:
        TypeError: `pool_size` or `strides` is not of integers.
        ValueError: an argument is out of range, or there are not two or three inputs.
        tf.errors.InvalidArgumentError: an index lies outside the output.
    """

    native_ops = ("max_unpool2d",)

    def __init__(self, pool_size=2, strides=None, padding="valid", **kwargs):
        super().__init__(**kwargs)
        self.pool_size = pool_size
        self.strides = strides
        self.padding = padding
        self._window = pooling_window(pool_size, strides, padding)

    def call(self, inputs):
        _check_count(inputs)
        features, indices = inputs[:2]
        if len(inputs) == 3:
            size = _sizes(inputs[2])
        else:
            size = [self._unpooled(axis, number) for axis, number in enumerate(_sizes(features))]
        return kseg_ops.max_unpool2d(features, indices, size)

    def compute_output_shape(self, input_shape):
        _check_count(input_shape)
        batch, *sizes, channels = input_shape[0]
        if len(input_shape) == 3:
            return (batch, *input_shape[2][1:3], channels)
        return (batch, *(self._unpooled(axis, size) for axis, size in enumerate(sizes)), channels)

    def _unpooled(self, axis, size):
        pool, strides = self._window
        return unpooled_size(size, pool[axis], strides[axis], self.padding)

    def get_config(self):
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "strides": self.strides,
            "padding": self.padding,
        }


def _check_count(inputs):
    if not isinstance(inputs, (list, tuple)) or len(inputs) not in (2, 3):
        count = len(inputs) if isinstance(inputs, (list, tuple)) else 1
        raise ValueError(
            "MaxUnpooling2D takes two inputs, [features, indices], or three, [features, indices, reference]; got "
            f"{count}"
        )


def _sizes(tensor):
    dynamic = tf.shape(tensor)
    return [dynamic[axis] if tensor.shape[axis] is None else int(tensor.shape[axis]) for axis in (1, 2)]
