"""Labels as integers, whatever dtype they come in."""

from __future__ import annotations

import tensorflow as tf


def whole_labels(y_true):
    """Labels as an integer tensor.

    Floats that are whole numbers are taken, because Keras itself makes floats of labels (under `tf.distribute` it
    builds models on labels averaged over the replicas, of which only the shape matters).

    Args:
        y_true: labels of any shape, integer or floating.

    Returns:
        Integers of the same shape.

    Raises:
        ValueError: labels that are neither integers nor floats.
        tf.errors.InvalidArgumentError: a label that is no whole number, when run (not under XLA, which drops
            assertions and leaves the number rounded down).
    """
    y_true = tf.convert_to_tensor(y_true)
    if y_true.dtype.is_integer:
        return y_true
    if not y_true.dtype.is_floating:
        raise ValueError(f"labels (y_true) must be integers; got {y_true.dtype.name}")
    whole = tf.floor(y_true)
    flat = tf.concat([tf.reshape(y_true - whole, [-1]), tf.zeros([1], y_true.dtype)], 0)
    message = (
        "labels (y_true) must be whole numbers: a mask was resized with interpolation, or rescaled. Found one with the "
        "fraction"
    )
    check = tf.debugging.Assert(tf.reduce_all(tf.equal(flat, 0)), [message, tf.reduce_max(flat)])
    with tf.control_dependencies([check] if check is not None else []):
        return tf.cast(whole, tf.int64)
