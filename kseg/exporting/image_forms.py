"""The forms in which images reach an exported model, and their decoding inside the graph."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from kseg.inference.model_spec import ModelSpec


class ImageForms:
    """What an exported model takes: raw pixels, encoded files, floats.

    Args:
        spec: facts of the model.
        size: `(height, width)` to which images are brought before the model, so that they may have any; `None` where
            they have the model's own.
    """

    def __init__(self, spec: ModelSpec, size: tuple[int, int] | None):
        self.spec, self.size = spec, size

    def specs(self) -> dict[str, tf.TensorSpec]:
        """The inputs by the name of their form, the handiest first: `images`, or `image_bytes` of dtype string."""
        forms = {}
        pixels = self._pixel_dtype()
        if pixels is not None:
            forms[pixels.name] = self._images(pixels)
        if pixels == tf.uint8 and self.spec.channels in (1, 3, 4):
            forms["encoded"] = tf.TensorSpec([None], tf.string, "image_bytes")
        forms["float"] = self._images(tf.float32)
        return forms

    def decode_equal(self, contents: tf.Tensor) -> tf.Tensor:
        """Decodes a batch of images that must all have the size of the first; uint8 `[B, H, W, C]`."""
        wanted = self._image_size()

        def body(index, first, images):
            image = self._decode(contents[index])
            size = tf.shape(image)[:2]
            first = tf.where(index == 0, size, first)
            equal = tf.debugging.Assert(
                tf.reduce_all(size == first),
                [
                    "images of one batch must have equal sizes (send them one by one, or export the model with "
                    "size=(height, width)); image number, its size and that of the first:",
                    index,
                    size,
                    first,
                ],
            )
            with tf.control_dependencies([equal, self._fits(index, size)]):
                return index + 1, first, images.write(index, image)

        images = _array(tf.uint8, contents, [None, None, self.spec.channels])
        _, images = _loop(contents, body, tf.zeros([2], tf.int32), images)
        images = images.stack()
        images.set_shape([None, *wanted, self.spec.channels])
        return images

    def decode_each(self, contents: tf.Tensor, finish: Callable) -> tuple[tf.Tensor, tf.Tensor]:
        """Decodes images of any sizes; `finish` brings each, float32 `[h, w, C]`, to `size`.

        Returns:
            The batch `[B, H, W, C]` and the original sizes, int32 `[B, 2]`.
        """

        def body(index, sizes, images):
            image = tf.cast(self._decode(contents[index]), tf.float32)
            return index + 1, sizes.write(index, tf.shape(image)[:2]), images.write(index, finish(image))

        images = _array(tf.float32, contents, [*self.size, self.spec.channels])
        sizes, images = _loop(contents, body, _array(tf.int32, contents, [2]), images)
        return images.stack(), sizes.stack()

    def decode_padded(self, contents: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Decodes images of any sizes and pads them with zeros at the bottom and the right to the largest.

        Returns:
            The batch, uint8 `[B, H, W, C]`, and the sizes without padding, int32 `[B, 2]`.
        """

        def decode(index, sizes, images):
            image = self._decode(contents[index])
            size = tf.shape(image)[:2]
            with tf.control_dependencies([self._fits(index, size)]):
                return index + 1, sizes.write(index, size), images.write(index, image)

        shape = [None, None, self.spec.channels]
        images = tf.TensorArray(
            tf.uint8, size=tf.shape(contents)[0], element_shape=shape, infer_shape=False, clear_after_read=True
        )
        sizes, images = _loop(contents, decode, _array(tf.int32, contents, [2]), images)
        sizes = sizes.stack()
        largest = tf.reduce_max(sizes, axis=0)

        def pad(index, unpadded, padded):
            missing = tf.pad(largest - sizes[index], [[0, 1]])
            image = tf.pad(unpadded.read(index), tf.stack([tf.zeros_like(missing), missing], axis=1))
            return index + 1, unpadded, padded.write(index, image)

        _, padded = _loop(contents, pad, images, _array(tf.uint8, contents, shape))
        padded = padded.stack()
        padded.set_shape([None, *self._image_size(), self.spec.channels])
        return padded, sizes

    def _pixel_dtype(self):
        """The integer type whose values are those of the model's input range, if there is one."""
        if self.spec.input_range is None or self.spec.input_range[1] <= 1:
            return None
        return tf.uint8 if self.spec.input_range[1] <= 255 else tf.uint16 if self.spec.input_range[1] <= 65535 else None

    def _image_size(self):
        """Height and width that images must have, `None` where they are free."""
        if self.size is not None:
            return [None, None]
        fixed = zip(self.spec.fixed_size, self.spec.margins, strict=True)
        return [None if length is None else length - 2 * margin for length, margin in fixed]

    def _images(self, dtype):
        return tf.TensorSpec([None, *self._image_size(), self.spec.channels], dtype, "images")

    def _decode(self, content):
        if self.spec.channels == 4:
            # JPEG and BMP have no fourth channel; decode_image refuses to ask for one.
            image = tf.io.decode_png(content, channels=4)
        else:
            image = tf.io.decode_image(content, channels=self.spec.channels, expand_animations=False)
        image.set_shape([None, None, self.spec.channels])
        return image

    def _fits(self, index, size):
        wanted = self._image_size()
        return tf.debugging.Assert(
            tf.reduce_all([s is None or size[axis] == s for axis, s in enumerate(wanted)]),
            [
                f"images must have the size {wanted} that the model was built for; image number and its size:",
                index,
                size,
            ],
        )


def _array(dtype, contents, element_shape):
    return tf.TensorArray(dtype, size=tf.shape(contents)[0], element_shape=element_shape)


def _loop(contents, body, carried, images):
    count = tf.shape(contents)[0]
    enough = tf.debugging.Assert(count > 0, ["image_bytes must hold at least one image, got an empty batch"])
    with tf.control_dependencies([enough]):
        _, carried, images = tf.while_loop(
            lambda index, *_: index < count, body, (tf.constant(0), carried, images), parallel_iterations=16
        )
    return carried, images
