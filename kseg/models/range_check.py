"""The warning about images that were already rescaled."""

from __future__ import annotations

import warnings

import numpy as np
import tensorflow as tf

_SAMPLE = (16, 64, 64)  # images, rows and columns looked at; up to twice as many


class RangeCheck:
    """Warns, once per model, when floating-point images within 0..1 reach a model that rescales 0..255 itself.

    Args:
        input_range: the `(low, high)` that the model expects. A model whose range ends at 2 or below never warns.
    """

    def __init__(self, input_range):
        self.input_range = input_range
        self.pending = input_range is not None and input_range[1] > 2

    def check_array(self, images):
        """Look at a sample of the pixels of an array (or eager tensor), spread over all of it."""
        if not self.pending or len(images.shape) < 3 or not _is_floating(images.dtype):
            return
        strides = [max(1, size // most) for size, most in zip(images.shape[:3], _SAMPLE, strict=True)]
        sample = np.asarray(images[:: strides[0], :: strides[1], :: strides[2]], "float32")
        # Whole numbers within 0..1 say nothing: a dark raw image has them too, a rescaled one has fractions.
        if sample.size and sample.min() >= 0 and sample.max() <= 1 and (sample != np.floor(sample)).any():
            self._warn_once()

    def check_first(self, index, images):
        """Let an input pipeline look at its first batch.

        Args:
            index: scalar int64, the number of the batch in the dataset.
            images: floating tensor.

        Returns:
            The same images.
        """

        def warn():
            # Runs in the pipeline's thread, when the first batch is made: looking into the dataset beforehand would
            # advance its shuffling and random augmentation.
            return tf.numpy_function(self._warn_once, [], tf.int64)

        # `index` guards the reductions too: later batches cost nothing.
        def look():
            within = (tf.reduce_min(images) >= 0) & (tf.reduce_max(images) <= 1)
            within &= tf.reduce_any(tf.not_equal(images, tf.floor(images)))
            return tf.cond(within, warn, lambda: tf.constant(0, tf.int64))

        with tf.control_dependencies([tf.cond(tf.equal(index, 0), look, lambda: tf.constant(0, tf.int64))]):
            return tf.identity(images)

    def _warn_once(self):
        if self.pending:
            self.pending = False
            self._warn()
        return np.int64(0)

    def _warn(self):
        low, high = self.input_range
        warnings.warn(
            f"the images are floating-point numbers within 0..1, but the model expects {low}..{high} and rescales them "
            "itself. Pass the raw images, or build the model with input_range=(0, 1)",
            UserWarning,
            stacklevel=2,
        )


def _is_floating(dtype):
    return tf.as_dtype(dtype).is_floating
