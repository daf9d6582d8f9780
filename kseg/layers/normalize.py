"""Rescaling of raw images, as part of the model."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from kseg._class_arguments import is_finite_number


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
        mean: per channel, subtracted after that, or None.
        std: per channel, by which the difference is divided, or None. Statistics of images are usually given in units
            of `output_range=(0, 1)`.
        **kwargs: `name`, `dtype`.

    Call arguments:
        images: any shape, integer or floating dtype.

    Returns:
        A tensor of the same shape in the layer's compute dtype.

    Raises:
        ValueError: a range that is not two increasing, finite numbers; statistics that are not one finite number
            per channel, or a standard deviation that is not positive.

    Example:
        >>> Normalize((0, 255))(np.array([[0, 255]], "uint8"))
        [[-1., 1.]]
    """

    def __init__(self, input_range=(0, 255), output_range=(-1, 1), mean=None, std=None, **kwargs):
        # Without autocasting Keras leaves the input alone, and the float32 arithmetic below sees all of its digits.
        super().__init__(autocast=False, **kwargs)
        self.input_range = _checked_range("input_range", input_range)
        self.output_range = _checked_range("output_range", output_range)
        self.mean = _checked_statistic("mean", mean)
        self.std = _checked_statistic("std", std)
        if std is not None and min(self.std) <= 0:
            raise ValueError(f"std must be positive; got {std!r}")

    def build(self, input_shape):
        for name in ("mean", "std"):
            statistic = getattr(self, name)
            if statistic is not None and input_shape[-1] not in (None, len(statistic)):
                raise ValueError(
                    f"{name} must have one number per channel of the images, {input_shape[-1]}; got {statistic!r}"
                )
        self.built = True

    def call(self, images):
        low, high = self.input_range
        out_low, out_high = self.output_range
        scale = (out_high - out_low) / (high - low)
        offset = out_low - low * scale
        if self.mean is not None:
            offset = offset - np.asarray(self.mean)
        if self.std is not None:
            scale, offset = scale / np.asarray(self.std), offset / np.asarray(self.std)
        # In float64 until here, so that the statistics are rounded once.
        scale, offset = np.asarray(scale, np.float32), np.asarray(offset, np.float32)
        return tf.cast(tf.cast(images, tf.float32) * scale + offset, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "input_range": self.input_range,
            "output_range": self.output_range,
            "mean": self.mean,
            "std": self.std,
        }


def _checked_range(name, value):
    try:
        low, high = value
    except (TypeError, ValueError):
        low = high = None
    if not (is_finite_number(low) and is_finite_number(high) and low < high):
        raise ValueError(
            f"{name} must be two increasing numbers (low, high), both finite, for example (0, 255); got {value!r}"
        )
    return (low, high)


def _checked_statistic(name, value):
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or not value or not all(is_finite_number(number) for number in value):
        raise ValueError(
            f"{name} must be a finite number per channel, for example (0.485, 0.456, 0.406); got {value!r}"
        )
    return tuple(value)
