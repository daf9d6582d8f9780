"""The check that images and labels have the sizes that a model takes."""

from __future__ import annotations

import re

import tensorflow as tf

_PREFIX = "Data do not fit the model: "
_MESSAGE = re.compile(re.escape(_PREFIX) + r"[^\n\[\]]*")


class SizeCheck:
    """Compares the shapes of images and labels with what the model takes; holds no model, so it can be pickled.

    Args:
        input_shape: `(None, height, width, channels)` of the model's only input; None for a model of several inputs,
            whose images are not checked.
        logits_size: function from the height and width of the images to those of the logits; None if the logits are as
            large as the images.
    """

    def __init__(self, input_shape, logits_size=None):
        self.input_shape = input_shape
        self.logits_size = logits_size

    def check_images(self, shape, name="x"):
        """Check the static shape of images; unknown dimensions (None) pass.

        Raises:
            ValueError: another number of dimensions, or of channels, or another fixed size, than the model's; no
                pixels.
        """
        if self.input_shape is None:
            return
        expected, shape = tuple(self.input_shape), tuple(shape)
        if len(shape) == len(expected) - 1 and expected[-1] == 1:  # Keras adds the channel axis of grey images
            shape = (*shape, 1)
        if len(shape) == len(expected) + 1 and shape[-1] == 1:  # and takes a superfluous one away
            shape = shape[:-1]
        if len(shape) != len(expected):
            hint = "batch the images, or give them a channel axis" if len(shape) < len(expected) else "drop one axis"
            raise ValueError(
                f"{_PREFIX}{name} must hold images of shape {_dimensions(expected)}; got shape "
                f"{_dimensions(shape)}: {hint}"
            )
        if shape[-1] is not None and expected[-1] is not None and shape[-1] != expected[-1]:
            raise ValueError(
                f"{_PREFIX}{name} must hold images with {expected[-1]} channel(s), as the model was built with; got "
                f"{shape[-1]}, in shape {_dimensions(shape)}. Convert the images, or build the model with "
                f"input_shape=(None, None, {shape[-1]})"
            )
        if 0 in shape[1:-1]:
            raise ValueError(
                f"{_PREFIX}{name} must hold images of at least 1 x 1 pixels; got shape {_dimensions(shape)}: find out "
                "where the images were cut to nothing"
            )
        for got, wanted in zip(shape[1:-1], expected[1:-1], strict=True):
            if got is not None and wanted is not None and got != wanted:
                raise ValueError(
                    f"{_PREFIX}{name} must hold images of the model's fixed size, {_dimensions(expected)}; got shape "
                    f"{_dimensions(shape)}. Resize them, or build the model with height and width None"
                )

    def check_labels(self, image_shape, label_shape, *, name="y"):
        """Check static shapes of labels against those of images; unknown dimensions (None) pass.

        Args:
            image_shape: of the images; None if unknown.
            label_shape: of the labels.
            name: what the error calls the labels.

        Raises:
            ValueError: the labels are neither as large as the images nor as large as the logits, or not as many.
        """
        if len(label_shape) not in (3, 4) or (len(label_shape) == 4 and label_shape[3] not in (1, None)):
            raise ValueError(
                f"{_PREFIX}{name} must hold one label per pixel, (batch, height, width) or (batch, height, width, 1); "
                f"got shape {_dimensions(label_shape)}"
            )
        if image_shape is None or len(image_shape) < 3:
            return
        if None not in (image_shape[0], label_shape[0]) and image_shape[0] != label_shape[0]:
            raise ValueError(
                f"{_PREFIX}{name} has {label_shape[0]} label maps for {image_shape[0]} images: each image needs one"
            )
        image, label = tuple(image_shape[1:3]), tuple(label_shape[1:3])
        if None in image or None in label:
            return
        logits = image if self.logits_size is None else self.logits_size(*image)
        if label not in (image, logits):
            also = "" if logits == image else f", or that of the logits, {logits[0]} x {logits[1]}"
            raise ValueError(
                f"{_PREFIX}{name} has labels of {label[0]} x {label[1]} pixels (height x width) for images of "
                f"{image[0]} x {image[1]}: labels must have the size of the images{also}"
            )

    def check_weights(self, image_shape, label_shape, weight_shape, *, name="sample_weight"):
        """Check static shapes of sample weights against those of labels; unknown dimensions (None) pass.

        Args:
            image_shape: of the images; None if unknown.
            label_shape: of the labels, `(B, H, W)` or `(B, H, W, 1)`.
            weight_shape: `(B,)`, `(B, H, W)` or `(B, H, W, 1)`; H and W may also be 1, or be left out after a 1.
            name: what the error calls them.

        Raises:
            ValueError: another shape.
        """
        sizes = [tuple(label_shape[1:3])]
        if image_shape is not None and len(image_shape) >= 3:
            sizes.append(tuple(image_shape[1:3]))
            if self.logits_size is not None and None not in sizes[-1]:
                sizes.append(self.logits_size(*sizes[-1]))
        height, width = ({None, 1, *(size[axis] for size in sizes)} for axis in (0, 1))
        allowed = ({None, label_shape[0]}, height, width, {None, 1})
        unknown = (label_shape[0] is None, *(any(None in size for size in sizes),) * 2, False)
        fits = 1 <= len(weight_shape) <= 4 and all(
            free or size in values for size, values, free in zip(weight_shape, allowed, unknown, strict=False)
        )
        if not fits or (len(weight_shape) == 2 and weight_shape[1] not in (None, 1)):
            raise ValueError(
                f"{_PREFIX}{name} must be one weight per image, (batch,), or per pixel, (batch, height, width) or "
                f"(batch, height, width, 1); got shape {_dimensions(weight_shape)} for labels of shape "
                f"{_dimensions(label_shape)}"
            )

    def images_tensor(self, images, name="x"):
        """The images in an input pipeline, with the rank and channels of the model, failing when computed if not so."""
        if self.input_shape is None:
            return images
        rank, channels = len(self.input_shape), self.input_shape[-1]
        if images.shape.rank is not None:
            self.check_images(images.shape, name)
            if images.shape.rank != rank or images.shape[-1] is not None or channels is None:
                return images
        shape = tf.shape(images)
        fits = tf.equal(tf.size(shape), rank)
        if channels is not None:
            fits &= tf.equal(tf.concat([[channels], shape], 0)[-1], channels)
        message = (
            f"{_PREFIX}{name} must hold images of shape {_dimensions(self.input_shape)}; got shape {{}}. If they come "
            "from numpy_function or py_function, say what it returns with set_shape"
        )
        with tf.control_dependencies([_assert_with_sizes(fits, message, [shape])]):
            images = tf.identity(images)
        return tf.ensure_shape(images, [None] * (rank - 1) + [channels])

    def labels_tensor(self, images, labels, *, name="y"):
        """The labels in an input pipeline, failing when computed if they do not fit; for what is unknown until then.

        Args:
            images: tensor, or None for a model of several inputs.
            labels: tensor; of unknown rank if it comes from `tf.numpy_function`.
            name: what the error calls the labels.

        Returns:
            The labels, of known rank.
        """
        shape = tf.shape(labels)
        checks = []
        if labels.shape.rank is None:
            three = tf.concat([shape, [0, 0, 0]], 0)[:3]
            message = (
                f"{_PREFIX}{name} must hold one label per pixel, (batch, height, width) or (batch, height, width, 1); "
                "got shape {}"
            )
            fits = tf.equal(tf.size(labels), tf.reduce_prod(three)) & (tf.size(shape) >= 3)
            checks.append(_assert_with_sizes(fits, message, [shape]))
            # A reshape that cannot fail, so that the message above is the one that arrives.
            safe = tf.where(fits, three, tf.stack([tf.size(labels), 1, 1]))
            labels = tf.ensure_shape(tf.reshape(labels, tf.reshape(safe, [3])), [None, None, None])
            shape = tf.shape(labels)
        if images is None or images.shape.rank is None or images.shape.rank < 3:
            return labels
        image_shape = tf.shape(images)
        if images.shape[0] is None or labels.shape[0] is None:
            message = f"{_PREFIX}{name} has {{}} label maps for {{}} images: each image needs one"
            checks.append(_assert_with_sizes(tf.equal(shape[0], image_shape[0]), message, [shape[:1], image_shape[:1]]))
        # Labels may have the size of the logits where that differs, which the loss checks.
        static = images.shape[1:3].is_fully_defined() and labels.shape[1:3].is_fully_defined()
        if self.logits_size is None and not static:
            message = (
                f"{_PREFIX}{name} has labels of {{}} pixels (height x width) for images of {{}}: "
                "labels must have the height and width of the images"
            )
            fits = tf.reduce_all(tf.equal(shape[1:3], image_shape[1:3]))
            checks.append(_assert_with_sizes(fits, message, [shape[1:3], image_shape[1:3]]))
        with tf.control_dependencies(checks):
            return tf.identity(labels)

    @staticmethod
    def reraise(error):
        """Raise ValueError if an error of TensorFlow carries a message of this check.

        Args:
            error: the exception; nothing happens if it is another one.
        """
        match = _MESSAGE.search(str(error))
        if match:
            raise ValueError(match.group().strip()) from None


def _assert_with_sizes(condition, message, sizes):
    texts = [tf.strings.reduce_join(tf.strings.as_string(size), separator=" x ") for size in sizes]
    # `format` would put strings into quotes.
    parts = message.split("{}")
    joined = [part for pair in zip(parts, [*texts, ""], strict=True) for part in pair]
    return tf.debugging.Assert(condition, [tf.strings.join(joined)])


def _dimensions(shape):
    texts = ["any" if size is None else str(size) for size in shape]
    return f"({texts[0]},)" if len(texts) == 1 else f"({', '.join(texts)})"
