"""The compiled forward pass of a model, built once per model and kept as long as the model lives."""

from __future__ import annotations

import weakref

import numpy as np
import tensorflow as tf

from kseg.inference.model_spec import ModelSpec
from kseg.models import SegmentationModel
from kseg_ops import _graphs

_functions: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
_class_functions: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


class Forward:
    """Calls a model on float32 batches; one trace serves every height, width and batch size.

    `tf.function` rather than `model.predict`: no callbacks, no progress bar, no retracing when tiles change their size,
    and `compile` (run_eagerly, jit_compile, distribution strategy) has no say in how an image is predicted.
    """

    def __init__(self, model):
        # Read anew each time: attributes such as receptive_field_radius may be set after the first prediction.
        self.spec = ModelSpec.of(model)
        if model not in _functions:
            _functions[model] = _compile(model, self.spec)
        self._logits = _functions[model]
        if model not in _class_functions:
            _class_functions[model] = _compile_classes(model, self.spec)
        self._classes = _class_functions[model]

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """`(B, H, W, C)` float32 -> logits float32.

        Raises:
            ValueError: the model returns maps of an unexpected size.
        """
        logits = self._logits(tf.convert_to_tensor(np.ascontiguousarray(batch))).numpy()
        expected = tuple(n - 2 * m for n, m in zip(batch.shape[1:3], self.spec.margins, strict=True))
        if logits.shape[1:3] != expected:
            raise ValueError(
                f"model returned maps of {logits.shape[1]}x{logits.shape[2]} pixels for an input of "
                f"{batch.shape[1]}x{batch.shape[2]}; expected {expected[0]}x{expected[1]}. kseg.predict needs one "
                "prediction per input pixel, or a model with an attribute margin: the pixels lost on each side."
            )
        return logits

    @property
    def upsamples(self) -> bool:
        """Whether the model's logits are smaller than the image until its last step, so that `classes` is cheaper."""
        return self._classes is not None

    def classes(self, batch: np.ndarray) -> np.ndarray:
        """`(B, H, W, C)` float32 -> classes `(B, H, W)`, of a model that `upsamples`; no logits of that size are made.

        Where the two largest logits of a pixel tie within rounding, it may be the other class than of `__call__`.
        """
        return self._classes(tf.convert_to_tensor(np.ascontiguousarray(batch))).numpy()


def _compile(model, spec):
    # Kept weakly: the cache is keyed by the model, and a strong reference in its value would keep both for ever.
    reference = weakref.ref(model)

    @tf.function(input_signature=[tf.TensorSpec((None, *spec.fixed_size, spec.channels), tf.float32)])
    def logits(batch):
        with _graphs.plain_graph():
            return tf.cast(reference()(batch, training=False), tf.float32)

    # Taken once: TensorFlow counts the first calls of all models' functions together and would warn of retracing.
    return logits.get_concrete_function()


def _compile_classes(model, spec):
    if getattr(model, "upsampling", None) is None or not isinstance(model, SegmentationModel):
        return None
    reference = weakref.ref(model)

    @tf.function(input_signature=[tf.TensorSpec((None, *spec.fixed_size, spec.channels), tf.float32)])
    def classes(batch):
        with _graphs.plain_graph():
            return tf.cast(reference().classes(batch), spec.class_dtype)

    return classes.get_concrete_function()
