"""Rescaling of raw images, as part of the model."""

from __future__ import annotations

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="kseg")
class Normalize(keras.layers.Layer):
    """Maps the sensor's value range linearly onto the range that a network likes.

    The arithmetic is float32 whatever the precision policy: 16-bit sensor values have more digits than float16
    or bfloat16 hold, so rounding must come after the rescaling.

    Args:
        input_range: `(low, high)`, the values that the sensor gives; 8-bit images have `(0, 255)`. Values outside are
            extrapolated, not clipped.
        output_range: `(low, high)` of the result. The default centres the input on 0, which is also what zero padding
            inside a network adds.
        **kwargs: `name`, `dtype`.

    Call arguments:
        images: any shape, integer or floating dtype.

    Returns:
        A tensor of the same shape in the layer's compute dtype.

    Raises:
        ValueError: a range that is not two increasing numbers.

    Example:
        >>> Normalize((0, 255))(np.array([[0, 255]], "uint8"))
        [[-1., 1.]]
    """

    def __init__(self, input_range=(0, 255), output_range=(-1, 1), **kwargs):
        # Without autocasting Keras leaves the input alone, and the float32 arithmetic below sees all of its digits.
        super().__init__(autocast=False, **kwargs)
        self.input_range = _checked_range("input_range", input_range)
        self.output_range = _checked_range("output_range", output_range)

    def call(self, images):
        low, high = self.input_range
        out_low, out_high = self.output_range
        scale = (out_high - out_low) / (high - low)
        return tf.cast(tf.cast(images, tf.float32) * scale + (out_low - low * scale), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "input_range": self.input_range, "output_range": self.output_range}


def _checked_range(name, value):
    try:
        low, high = value
        increasing = low < high
    except (TypeError, ValueError):
        increasing = False
    if not increasing:
        raise ValueError(f"{name} must be two increasing numbers (low, high), for example (0, 255); got {value!r}")
    return (low, high)
