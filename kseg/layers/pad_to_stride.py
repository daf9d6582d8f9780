"""Padding of any image size to a multiple of a network's stride."""

from __future__ import annotations

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="kseg")
class PadToStride(keras.layers.Layer):
    """Pads height and width at the bottom and the right to multiples of `stride`, repeating the last row and column.

    Two choices, and why:

    - *Bottom and right only*: pixel `(0, 0)` stays where it is, so a tile cut from a large image at a multiple of the
      stride sees the same pooling grid as the whole image does. Splitting the padding over both sides would shift the
      grid by an amount that depends on the image's size, and tiled prediction would never equal untiled prediction.
    - *Edge values*: they exist for every size from 1 pixel up (reflection needs more pixels than it pads) and add
      neither the artificial dark border of zeros nor mirrored objects.

    `CropTo(offset=0)` is the inverse.

    Args:
        stride: positive int.
        **kwargs: `name`, `dtype`.

    Call arguments:
        images: `(B, H, W, C)`, H and W at least 1; sizes may be unknown until run time.

    Returns:
        `(B, H', W', C)` with H' and W' the next multiples of `stride`; same dtype.

    Raises:
        ValueError: a stride below 1.
    """

    def __init__(self, stride, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(stride, int) or isinstance(stride, bool) or stride < 1:
            raise ValueError(f"stride must be a positive int; got {stride!r}")
        self.stride = stride

    def call(self, images):
        return self._pad(self._pad(images, 1), 2)

    def _pad(self, images, axis):
        static = images.shape[axis]
        if static is not None and static % self.stride == 0:
            return images
        missing = -(tf.shape(images)[axis] if static is None else static) % self.stride
        last = images[:, -1:] if axis == 1 else images[:, :, -1:]
        repeats = [1, 1, 1, 1]
        repeats[axis] = missing
        padded = tf.concat([images, tf.tile(last, repeats)], axis=axis)
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
        return {**super().get_config(), "stride": self.stride}
