"""A detector and everything around it as TensorFlow graph functions: padding, resizing, boxes back to the image."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from kseg.exporting.image_forms import ImageForms
from kseg.inference.model_spec import ModelSpec


class DetectionGraph:
    """Graph functions from images to boxes, scores, classes and masks in the frames of the boxes.

    Args:
        model: a `kseg.FasterRCNN` or `kseg.MaskRCNN`.
        spec: its facts.
        size: `(height, width)` into which images are fitted before the model; `None` for their own.

    Attributes:
        native_ops: the compiled ops that it cannot do without where such are wanted.
        spec_of: the function that reads the facts of a model.
    """

    native_ops = ("batched_nms", "multilevel_roi_align")
    spec_of = staticmethod(ModelSpec.of_detector)

    def __init__(self, model, spec: ModelSpec, size: tuple[int, int] | None):
        self.model, self.spec, self.size = model, spec, size
        self._forms = ImageForms(spec, size)
        images = tf.TensorSpec([None, *(size or spec.fixed_size), spec.channels], tf.float32)

        # One function that every signature calls: the model is traced and stored once.
        @tf.function(input_signature=[images, tf.TensorSpec([None, 2], tf.int32)])
        def detections(images, sizes):
            return model(images, sizes=sizes, training=False)

        self._detections = detections

    def signatures(self) -> dict[str, Callable]:
        """The signatures by name, each a `tf.function` of one or two arguments; `serving_default` comes first."""
        named = {}
        for form, spec in self._forms.specs().items():
            if spec.dtype == tf.string:
                named[f"detections_{form}"] = _function(self._encoded, spec)
                continue
            named[f"detections_{form}"] = _function(self._images, spec)
            named[f"detections_{form}_sizes"] = _function(
                self._padded_images, spec, tf.TensorSpec([None, 2], tf.int32, "sizes")
            )
        return {"serving_default": next(iter(named.values())), **named}

    def facts(self) -> dict:
        """What the facts file says of detectors only."""
        return {
            "boxes": "x1, y1, x2, y2 in pixels of the image; x2 and y2 are the right and lower edges, exclusive",
            "padding_class": -1,
            "max_detections": self.model.postprocess.max_detections,
            "score_threshold": self.model.postprocess.score_threshold,
            "iou_threshold": self.model.postprocess.iou_threshold,
            "paste_mode": getattr(self.model, "paste_mode", None),
        }

    # Pipelines: input -> outputs by name.

    def _images(self, images):
        size = tf.shape(images)[1:3]
        sizes = tf.broadcast_to(size, [tf.shape(images)[0], 2])
        images = tf.cast(images, tf.float32)
        if self.size is None:
            return dict(self._detections(images, sizes))
        return self._in_original_pixels(self._fit(images, self._fitted(size)), sizes)

    def _padded_images(self, images, sizes):
        least, most = tf.constant([1, 1]), tf.shape(images)[1:3]
        within = tf.debugging.Assert(
            tf.reduce_all((sizes >= least) & (sizes <= most)),
            ["sizes must hold heights and widths from 1 to those of images; got these, for images of this size:"]
            + [sizes, most],
            summarize=16,
        )
        one_each = tf.debugging.Assert(
            tf.shape(sizes)[0] == tf.shape(images)[0],
            ["sizes must hold one pair for each image; numbers of pairs and of images:"]
            + [tf.shape(sizes)[0], tf.shape(images)[0]],
        )
        with tf.control_dependencies([within, one_each]):
            images = tf.cast(images, tf.float32)
        if self.size is None:
            return dict(self._detections(images, sizes))

        def one(arguments):
            image, size = arguments
            return self._fit(image[: size[0], : size[1]], self._fitted(size))

        spec = tf.TensorSpec([*self.size, self.spec.channels], tf.float32)
        return self._in_original_pixels(tf.map_fn(one, (images, sizes), fn_output_signature=spec), sizes)

    def _encoded(self, contents):
        if self.size is None:
            images, sizes = self._forms.decode_padded(contents)
            return {**self._detections(tf.cast(images, tf.float32), sizes), "sizes": sizes}
        images, sizes = self._forms.decode_each(
            contents, lambda image: self._fit(image, self._fitted(tf.shape(image)[:2]))
        )
        return {**self._in_original_pixels(images, sizes), "sizes": sizes}

    # Around the model.

    def _fitted(self, sizes):
        """The largest sizes of the same proportions within `size`; `[..., 2]`, in whole numbers throughout."""
        sizes = tf.cast(sizes, tf.int64)
        most = tf.constant(self.size, tf.int64)
        # Of both axes at once: the length that goes with the largest on the other axis.
        lengths = sizes * most[::-1] // tf.reverse(sizes, axis=[-1])
        return tf.cast(tf.clip_by_value(lengths, tf.ones_like(most), most), tf.int32)

    def _fit(self, images, fitted):
        """Resizes `[..., h, w, C]` as `kseg.predict_instances` does, and pads it to `size`."""
        images = tf.image.resize(images, fitted, method="bilinear")
        missing = tf.constant(self.size) - fitted
        rank = len(images.shape)
        after = tf.concat([tf.zeros([rank - 3], tf.int32), missing, [0]], axis=0)
        images = tf.pad(images, tf.stack([tf.zeros_like(after), after], axis=1))
        return tf.ensure_shape(images, [*[None] * (rank - 3), *self.size, self.spec.channels])

    def _in_original_pixels(self, images, sizes):
        fitted = self._fitted(sizes)
        found = self._detections(images, fitted)
        factors = tf.reverse(tf.cast(sizes, tf.float32) / tf.cast(fitted, tf.float32), axis=[1])
        return {**found, "boxes": found["boxes"] * tf.tile(factors, [1, 2])[:, tf.newaxis]}


def _function(pipeline, *specs):
    # The code of this file is a graph already; AutoGraph would follow it into the loading of the compiled library. The
    # model's own function keeps AutoGraph, which its layers may need.
    return tf.function(lambda *values: pipeline(*values), input_signature=specs, autograph=False)
