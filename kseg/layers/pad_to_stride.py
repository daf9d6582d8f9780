"""Padding of any image size to a multiple of a network's stride."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg._class_arguments import is_finite_number


@keras.saving.register_keras_serializable(package="kseg")
class PadToStride(keras.layers.Layer):
    """Pads height and width at the bottom and the right to multiples of `stride`.

    Two choices, and why:

    - *Bottom and right only*: pixel `(0, 0)` stays where it is, so a tile cut from a large image at a multiple of the
      stride sees the same pooling grid as the whole image does. Splitting the padding over both sides would shift the
      grid by an amount that depends on the image's size, and tiled prediction would never equal untiled prediction.
    - *Edge values*, the last row and column repeated, by default: they exist for every size from 1 pixel up (reflection
      needs more pixels than it pads) and add neither the artificial dark border of zeros nor mirrored objects.

    `CropTo(offset=0)` is the inverse.

    Args:
        stride: positive int.
        value: a number to pad with, as detectors do with 0 after normalisation; None for edge values.
        **kwargs: `name`, `dtype`.

    Call arguments:
        images: `(B, H, W, C)`, H and W at least 1; sizes may be unknown until run time.

    Returns:
        `(B, H', W', C)` with H' and W' the next multiples of `stride`; same dtype.

    Raises:
        ValueError: a stride below 1; a value that is no number.
    """

    def __init__(self, stride, value=None, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(stride, int) or isinstance(stride, bool) or stride < 1:
            raise ValueError(f"stride must be a positive int; got {stride!r}")
        if value is not None and not is_finite_number(value):
            raise ValueError(f"value must be a number or None; got {value!r}")
        self.stride = stride
        self.value = value

    def call(self, images):
        return self._pad(self._pad(images, 1), 2)

    def _pad(self, images, axis):
        static = images.shape[axis]
        if static is not None and static % self.stride == 0:
            return images
        missing = -(tf.shape(images)[axis] if static is None else static) % self.stride
        if self.value is None:
            last = images[:, -1:] if axis == 1 else images[:, :, -1:]
            repeats = [1, 1, 1, 1]
            repeats[axis] = missing
            padded = tf.concat([images, tf.tile(last, repeats)], axis=axis)
        else:
            paddings = [[0, missing if index == axis else 0] for index in range(4)]
            padded = tf.pad(images, paddings, constant_values=tf.cast(self.value, images.dtype))
        shape = images.shape.as_list()
        shape[axis] = self._padded(static)
        padded.set_shape(shape)  # tiling by a number unknown until run time forgets even the channels
        return padded

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, self._padded(height), self._padded(width), channels)

    def _padded(self, size):
        return None if size is None else size + -size % self.stride

    def get_config(self):
        return {**super().get_config(), "stride": self.stride, "value": self.value}
