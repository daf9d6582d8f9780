"""The warning about images that were already rescaled."""

from __future__ import annotations

import warnings

import numpy as np
import tensorflow as tf


class RangeCheck:
    """Warns, once, when floating-point images within 0..1 reach a model that rescales 0..255 itself.

    Args:
        input_range: the `(low, high)` that the model expects. A model whose range ends at 2 or below never warns.
    """

    def __init__(self, input_range):
        self.input_range = input_range
        self.pending = input_range is not None and input_range[1] > 2

    def check_array(self, images):
        """Look at the first images of an array (or eager tensor)."""
        if not self.pending or np.ndim(images) == 0:
            return
        first = np.asarray(images[:8])
        if first.size == 0:
            return
        self.pending = False  # one look is enough: a later dark image must not draw the warning
        if np.issubdtype(first.dtype, np.floating) and first.min() >= 0 and 0 < first.max() <= 1:
            self._warn()

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
            within = (tf.reduce_min(images) >= 0) & (tf.reduce_max(images) <= 1) & (tf.reduce_max(images) > 0)
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
