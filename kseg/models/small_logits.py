"""The part of a model before its logits are brought to the size of the image, and its auxiliary heads."""

from __future__ import annotations

import contextlib
import contextvars

import keras
import tensorflow as tf

import kseg_ops
from kseg._class_arguments import is_finite_number
from kseg.layers import ResizeTo
from kseg.losses.segmentation_loss import mean_over_replicas

UPSAMPLINGS = (None, "bilinear", "align_corners")

_wanted_by = contextvars.ContextVar("kseg_small_logits_wanted_by", default=None)


class SmallLogits:
    """Graphs from images to small logits, and what is made of them.

    It is no Keras object: the layers in its graphs belong to the model, which tracks and saves them once.

    Args:
        images: the Keras input.
        logits: the Keras tensor that the model would upsample, `(B, h, w, num_classes)`.
        upsampling: `"bilinear"` (half-pixel centres), `"align_corners"`, or None if the logits have the image's size.
        auxiliary: `{name: (logits, weight)}`, Keras tensors of any size and the weights of their losses.

    Raises:
        ValueError: an unknown upsampling, a weight that is no finite number.
    """

    def __init__(self, images, logits, upsampling, auxiliary):
        if upsampling not in UPSAMPLINGS:
            raise ValueError(f'upsampling must be "bilinear", "align_corners" or None; got {upsampling!r}')
        for name, (_, weight) in auxiliary.items():
            if not is_finite_number(weight):
                raise ValueError(f"auxiliary must have a finite number as the weight of {name!r}; got {weight!r}")
        self.upsampling = upsampling
        self.align_corners = upsampling == "align_corners"
        self.weights = {name: float(weight) for name, (_, weight) in auxiliary.items()}
        self.means = {name: keras.metrics.Mean(name=f"{name}_loss") for name in auxiliary}
        self._images = images
        self._evaluation = keras.Function(images, {"logits": logits})
        heads = {name: head for name, (head, _) in auxiliary.items()}
        self._training = keras.Function(images, {"logits": logits, **heads}) if heads else self._evaluation

    def layers(self):
        """All layers of the graphs."""
        return [operation for operation in self._training.operations if isinstance(operation, keras.layers.Layer)]

    def __call__(self, images, training):
        """The logits under "logits" and, in training, those of the auxiliary heads under their names."""
        images = tf.cast(tf.convert_to_tensor(_one(images)), self._images.dtype)
        if images.shape.rank == 3 and self._images.shape[-1] == 1:  # which Keras accepts for one channel
            images = images[..., tf.newaxis]
        return (self._training if training else self._evaluation)(images)

    def at_full_size(self, logits, images):
        """Logits as large as the images; they have another size only if the model upsamples."""
        if self.upsampling is None:
            return logits
        images = tf.convert_to_tensor(_one(images))
        images = images[..., tf.newaxis] if images.shape.rank == 3 else images
        return ResizeTo(self.upsampling, dtype="float32")([logits, images])

    def classes(self, logits, size):
        """The classes `(B, H, W)` of logits, int32, at a size at which the logits are never made."""
        return classes_of(logits, size, self.align_corners)

    def reset(self):
        """Forget the auxiliary losses of the last epoch."""
        for mean in self.means.values():
            mean.reset_state()

    def log(self, name, value):
        """Keep the loss of an auxiliary head, for the logs, as it is without a division by the number of replicas."""
        self.means[name].update_state(value / mean_over_replicas(tf.constant(1.0)))

    def logs(self):
        """The mean of each auxiliary loss, before its weight, since the last reset."""
        return {mean.name: mean.result() for mean in self.means.values()}


def classes_of(logits, size, align_corners=False):
    """The classes `(B, H, W)` of logits at another size, int32; of one channel, 1 where it is above 0."""
    return kseg_ops.resize_argmax(_with_background(logits), size, align_corners)


def argmax_of(logits):
    """The classes `(B, H, W)` of logits, int32; of one channel, 1 where it is above 0."""
    return tf.argmax(_with_background(logits), axis=-1, output_type=tf.int32)


def _with_background(logits):
    """Class 0 has the logit 0, so that of one channel the argmax is 1 exactly where the logit is above 0."""
    return tf.concat([tf.zeros_like(logits), logits], axis=-1) if logits.shape[-1] == 1 else logits


def image_size(images):
    """Height and width of a batch of images, as a tensor."""
    return tf.shape(_one(images))[1:3]


def _one(images):
    """The images themselves, where Keras wraps them in a list or a dictionary."""
    return tf.nest.flatten(images)[0]


@contextlib.contextmanager
def small_logits_of(model):
    """Inside the block, a call of this model gives a dictionary: what `SmallLogits` gives when it is called."""
    token = _wanted_by.set(model)
    try:
        yield
    finally:
        _wanted_by.reset(token)


def are_wanted(model) -> bool:
    """Whether the innermost `small_logits_of` names this model."""
    return _wanted_by.get() is model
