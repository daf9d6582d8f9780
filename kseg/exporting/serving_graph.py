"""A model of class maps and everything around it as TensorFlow graph functions: resizing, argmax, softmax."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from kseg.exporting.image_forms import ImageForms
from kseg.inference.model_spec import ModelSpec
from kseg.layers import ResizeTo
from kseg.layers._interpolation import resize_bilinear
from kseg.models.small_logits import argmax_of, classes_of


class ServingGraph:
    """Graph functions from images to class maps and probabilities.

    Args:
        model: a functional Keras model.
        spec: its facts.
        size: `(height, width)` to which images are resized before the model, and back after it; `None` for neither.

    Attributes:
        native_ops: the compiled ops that it cannot do without where such are wanted.
        spec_of: the function that reads the facts of a model.
    """

    native_ops = ("resize_argmax",)
    spec_of = staticmethod(ModelSpec.of)

    def __init__(self, model, spec: ModelSpec, size: tuple[int, int] | None):
        self.spec, self.size = spec, size
        self._forms = ImageForms(spec, size)
        shape = (None, *(size or spec.fixed_size)) if not any(spec.margins) else (None, *spec.fixed_size)

        # Such a model is stored up to its small logits: probabilities upsample them, classes are found without that.
        upsamples = getattr(model, "upsampling", None) is not None
        self._upsampling = model.upsampling if upsamples else None

        # One function that every signature calls: the model is traced and stored once.
        @tf.function(input_signature=[tf.TensorSpec([*shape, spec.channels], tf.float32)])
        def model_logits(images):
            return tf.cast(model.small_logits(images) if upsamples else model(images, training=False), tf.float32)

        self._model_logits = model_logits

    def signatures(self) -> dict[str, Callable]:
        """The signatures by name, each a `tf.function` of one argument; `serving_default` comes first."""
        named = {}
        for form, spec in self._forms.specs().items():
            pipeline = self._encoded if spec.dtype == tf.string else self._images
            named[f"classes_{form}"] = _function(pipeline, spec, self._classes, "classes")
            named[f"probabilities_{form}"] = _function(pipeline, spec, self._probabilities, "probabilities")
        return {"serving_default": next(iter(named.values())), **named}

    def facts(self) -> dict:
        """What the facts file says of class maps only."""
        return {"ignore_index": self.spec.ignore_index}

    # Pipelines: input -> (logits, sizes to bring them to or None), then `finish` -> output.

    def _images(self, images, finish, name):
        images = tf.cast(images, tf.float32)
        if self.size is None:
            return {name: self._same_size(images, finish)}
        return {name: finish(self._logits(self._resize_in(images)), tf.shape(images)[1:3])}

    def _encoded(self, contents, finish, name):
        if self.size is None:
            return {name: self._same_size(tf.cast(self._forms.decode_equal(contents), tf.float32), finish)}
        images, sizes = self._forms.decode_each(contents, self._resize_in)
        logits = self._logits(images)
        largest = tf.reduce_max(sizes, axis=0)

        def one(arguments):
            result = finish(arguments[0][tf.newaxis], arguments[1])[0]
            missing = tf.concat([largest - arguments[1], tf.zeros([tf.rank(result) - 2], tf.int32)], axis=0)
            return tf.pad(
                result, tf.stack([tf.zeros_like(missing), missing], axis=1), constant_values=self._pad_value(name)
            )

        # Sizes may differ within the batch: results lie at the top left of the largest, and `sizes` says where they
        # end.
        spec = self._output_spec(name)
        return {name: tf.map_fn(one, (logits, sizes), fn_output_signature=spec), "sizes": sizes}

    def _output_spec(self, name):
        if name == "classes":
            return tf.TensorSpec([None, None], self._class_dtype)
        return tf.TensorSpec([None, None, self.spec.num_classes], tf.float32)

    def _pad_value(self, name):
        void = self.spec.ignore_index
        fits = name == "classes" and void is not None and 0 <= void <= self._class_dtype.max
        return tf.constant(void if fits else 0, self._output_spec(name).dtype)

    @property
    def _class_dtype(self):
        return tf.as_dtype(self.spec.class_dtype)

    # Around the model.

    def _resize_in(self, images):
        if self.size is None:
            return images
        return tf.image.resize(images, self.size, method="bilinear", antialias=True)

    def _same_size(self, images, finish):
        if self._upsampling is None or finish != self._classes:
            return finish(self._logits(images), None)
        classes = classes_of(self._model_logits(images), tf.shape(images)[1:3], self._upsampling == "align_corners")
        classes.set_shape(images.shape[:3])
        return tf.cast(classes, self._class_dtype)

    def _logits(self, images):
        size = tf.shape(images)[1:3]
        static = images.shape[1:3]
        if any(self.spec.margins):
            images = _mirror(_mirror(images, 1, self.spec), 2, self.spec)
        logits = self._model_logits(images)
        if self._upsampling is not None:
            logits = ResizeTo(self._upsampling, dtype="float32")([logits, images])
        if any(self.spec.margins):
            logits = logits[:, : size[0], : size[1]]
        logits.set_shape([None, *static, self.spec.num_classes])
        return logits

    def _classes(self, logits, size):
        classes = argmax_of(logits) if size is None else classes_of(logits, size)
        return tf.cast(classes, self._class_dtype)

    def _probabilities(self, logits, size):
        if size is not None:
            logits = resize_bilinear(logits, size, align_corners=False)
        return tf.sigmoid(logits) if self.spec.num_classes == 1 else tf.nn.softmax(logits)


def _function(pipeline, spec, finish, name):
    # The code of this file is a graph already; AutoGraph would follow it into the loading of the compiled library. The
    # model's own function keeps AutoGraph, which its layers may need.
    return tf.function(lambda value: pipeline(value, finish, name), input_signature=[spec], autograph=False)


def _mirror(images, axis, spec):
    """Extends an axis by mirroring, as `kseg.predict` does, until a model with valid padding covers the image."""
    margin, residue = spec.margins[axis - 1], spec.residue[axis - 1]
    length = tf.shape(images)[axis]
    needed = length + 2 * margin
    index = tf.abs(tf.range(-margin, needed - margin + (residue - needed) % spec.stride))
    period = tf.maximum(1, 2 * (length - 1))
    index = index % period
    return tf.gather(images, tf.minimum(tf.minimum(index, period - index), length - 1), axis=axis)
