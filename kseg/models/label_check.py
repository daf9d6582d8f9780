"""The check of labels before a training step meets them."""

from __future__ import annotations

import re

import numpy as np
import tensorflow as tf

_PREFIX = "Labels out of range: "
_SUFFIX = "Correct the masks, or give these pixels the ignore_index."
_MESSAGE = re.compile(re.escape(_PREFIX) + ".*?" + re.escape(_SUFFIX), re.DOTALL)
_SHOWN = 8  # bad values named in a message


class LabelCheck:
    """Finds labels that are neither a class nor void.

    The check runs on arrays with NumPy, and on datasets as a stage of the input pipeline: never inside the training
    step alone, because XLA drops assertions.

    Args:
        num_classes: number of classes; 1 is the sigmoid case with the labels 0 and 1.
        ignore_index: the label of void pixels, or None.
    """

    def __init__(self, num_classes, ignore_index):
        self.classes = max(num_classes, 2)
        self.ignore_index = ignore_index

    def check_array(self, labels, name="y"):
        """Check labels that are in memory.

        Args:
            labels: an array or an eager tensor of integers, or of what `kseg.losses.with_distance_maps` made of them.
            name: what the error calls them.

        Raises:
            ValueError: floating labels without distance maps; values outside the range, each of which (up to 8) is
                named.
        """
        labels = np.atleast_1d(np.asarray(labels))
        if self.has_maps(labels.shape, labels.dtype):
            labels = labels[..., 0]
        else:
            self.check_dtype(labels.dtype, name)
        found = set()
        for start in range(0, len(labels), 64):  # in parts, so that the masks below stay small beside the labels
            part = labels[start : start + 64]
            bad = (part < 0) | (part >= self.classes)
            if self.ignore_index is not None:
                bad &= part != self.ignore_index
            if np.issubdtype(part.dtype, np.floating):
                bad |= part != np.floor(part)
            if bad.any():
                found.update(np.unique(part[bad]).tolist())
        if found:
            values = " ".join(f"{value:.15g}" for value in sorted(found)[:_SHOWN])
            raise ValueError(self._message(name, f"[{values}{' ...' if len(found) > _SHOWN else ''}]"))

    def check_tensor(self, labels, name="y"):
        """Labels that fail when they are computed if one is out of range, for use in an input pipeline.

        Args:
            labels: a tensor of integers, or of what `kseg.losses.with_distance_maps` made of them.
            name: what the error calls them.

        Returns:
            The same labels; computing them raises InvalidArgumentError with the message that `reraise` looks for.
        """
        if self.has_maps(labels.shape, labels.dtype):
            wide = tf.reshape(labels[..., 0], [-1])
        else:
            self.check_dtype(np.dtype(labels.dtype.as_numpy_dtype), name)
            wide = tf.reshape(tf.cast(labels, tf.int64), [-1])  # flat: a mask of unknown rank cannot select
        good = (wide >= 0) & (wide < self.classes)
        if self.ignore_index is not None:
            good |= tf.equal(wide, tf.cast(self.ignore_index, wide.dtype))
        if wide.dtype.is_floating:
            good &= tf.equal(wide, tf.floor(wide))

        def fail():
            values = tf.sort(tf.unique(tf.boolean_mask(wide, ~good))[0])[:_SHOWN]
            return tf.debugging.Assert(False, [tf.strings.format(self._message(name, "{}"), values, summarize=_SHOWN)])

        with tf.control_dependencies([tf.cond(tf.reduce_all(good), tf.no_op, fail)]):
            return tf.identity(labels)

    def has_maps(self, shape, dtype):
        """Whether labels of this shape and dtype are what `kseg.losses.with_distance_maps` makes of a batch."""
        shape = tf.TensorShape(shape)
        return shape.rank == 4 and shape[-1] == 1 + self.classes and tf.as_dtype(dtype).is_floating

    def without_maps(self, labels):
        """The labels alone, `(B, H, W, 1)`, if distance maps lie beside them; else what came: a tensor or an array."""
        if not hasattr(labels, "shape") or not self.has_maps(labels.shape, labels.dtype):
            return labels
        return labels[..., :1]

    @staticmethod
    def check_dtype(dtype, name="y"):
        """Check that labels are integers.

        Raises:
            ValueError: they are not.
        """
        if not np.issubdtype(dtype, np.integer):
            raise ValueError(
                f"{name} must hold integer labels (uint8, int32, ...); got dtype {dtype}. Cast them, for example "
                'labels.astype("int32"), after making sure that no resizing or rescaling blended classes'
            )

    @staticmethod
    def reraise(error):
        """Raise ValueError if an error of TensorFlow carries the message of this check.

        Args:
            error: the exception; nothing happens if it is another one.
        """
        match = _MESSAGE.search(str(error))
        if match:
            raise ValueError(match.group()) from None

    def _message(self, name, values):
        return (
            f"{_PREFIX}{name} holds {values}, allowed are 0..{self.classes - 1} and "
            f"ignore_index={self.ignore_index}. {_SUFFIX}"
        )
