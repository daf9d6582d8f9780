"""The check that images and sample weights hold numbers that training survives."""

from __future__ import annotations

import re

import numpy as np
import tensorflow as tf

_PREFIX = "Data that cannot be trained on: "
_SUFFIX = "for example with np.nan_to_num"
_MESSAGE = re.compile(re.escape(_PREFIX) + ".*?" + re.escape(_SUFFIX), re.DOTALL)
_VALUES = 2**22  # looked at together, so that the masks below stay small beside the data


def check_dtype(dtype, name):
    """Check that images or weights are real numbers.

    Args:
        dtype: NumPy's.
        name: what the error calls them.

    Raises:
        TypeError: complex numbers, texts, objects.
    """
    if np.dtype(dtype).kind in "cOSUMm":
        raise TypeError(
            f"{name} must hold integers or floats; got dtype {dtype}. Convert it, complex numbers with np.abs"
        )


def check_array(values, name, negative=True):
    """Check an array, or an eager tensor, for values that would make every weight NaN.

    Args:
        values: of any dtype; only floating ones (and weights below 0) can be wrong.
        name: what the error calls it.
        negative: whether values below 0 are allowed.

    Raises:
        TypeError: no real numbers.
        ValueError: a value that is not finite, or below 0 where that is not allowed; the text has it and its index.
    """
    if not len(values.shape):
        return
    dtype = np.asarray(values[:0]).dtype
    check_dtype(dtype, name)
    if negative and dtype.kind in "biu":
        return
    step = max(1, _VALUES // max(1, int(np.prod(values.shape[1:]))))
    for start in range(0, values.shape[0], step):
        part = np.asarray(values[start : start + step])
        good = np.isfinite(part) if negative else np.isfinite(part) & (part >= 0)
        if not good.all():
            index = tuple(int(axis[0]) for axis in np.nonzero(~good))
            place = (start + index[0], *index[1:])
            raise ValueError(_message(name, f"{part[index]}, first at index {place},", negative))


def checked_tensor(values, name, negative=True):
    """A tensor that fails when it is computed if `check_array` would refuse it, for use in an input pipeline.

    Returns:
        The same values; computing them raises InvalidArgumentError with the message that `reraise` looks for.
    """
    check_dtype(values.dtype.as_numpy_dtype, name)
    if not values.dtype.is_floating:
        return values
    good = tf.math.is_finite(values)
    if not negative:
        good &= values >= 0

    def fail():
        flat = tf.reshape(values, [-1])
        bad = tf.boolean_mask(flat, ~tf.reshape(good, [-1]))
        text = tf.strings.format(_message(name, "{}", negative), tf.cast(bad[0], tf.float32))
        return tf.debugging.Assert(False, [text])

    with tf.control_dependencies([tf.cond(tf.reduce_all(good), tf.no_op, fail)]):
        return tf.identity(values)


def reraise(error):
    """Raise ValueError if an error of TensorFlow carries the message of this check.

    Args:
        error: the exception; nothing happens if it is another one.
    """
    match = _MESSAGE.search(str(error))
    if match:
        raise ValueError(match.group()) from None


def _message(name, found, negative):
    expected = "finite values" if negative else "finite weights of at least 0"
    result = "all weights of the model NaN" if negative else "the loss NaN or negative"
    return f"{_PREFIX}{name} must hold {expected}; got {found} which makes {result}. Replace such values, {_SUFFIX}"
