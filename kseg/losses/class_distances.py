"""How far pixels are from the classes of an image, with void pixels left out."""

from __future__ import annotations

import math

import tensorflow as tf

import kseg_ops
from kseg._class_arguments import is_finite_number


def check_spacing(spacing):
    """The spacing of pixels, checked: `(rows, columns)`.

    Raises:
        ValueError: neither a number from 2**-60 to 2**60 nor a pair of them.
    """
    pair = tuple(spacing) if isinstance(spacing, (tuple, list)) else (spacing, spacing)
    if len(pair) != 2 or not all(is_finite_number(number) and 2.0**-60 <= number <= 2.0**60 for number in pair):
        raise ValueError(
            "spacing must be a number above 0 (2**-60 to 2**60) or a pair of them, of rows and columns; got "
            f"{spacing!r}"
        )
    return tuple(map(float, pair))


def members_of(classes, valid, num_classes):
    """Bool `(B, H, W, C)`: the valid pixels of each class, of integer classes `(B, H, W)`."""
    one_hot = tf.one_hot(classes, num_classes, on_value=True, off_value=False, dtype=tf.bool)
    return one_hot & valid[..., tf.newaxis]


def signed_distances(classes, members, spacing):
    """The distance to each class outside of it, and minus the distance to the nearest other class inside.

    Args:
        classes: integer classes `(B, H, W)`.
        members: of `members_of`.
        spacing: `(rows, columns)`.

    Returns:
        float32 `(B, H, W, C)`. Everywhere +inf for a class that the image has not, -inf inside one that it is full of.
        At void pixels the distance to each class. No gradient.
    """
    valid = tf.reduce_any(members, -1)
    # One plane per class, made without transposing bools, which oneDNN refuses with an error in the log.
    numbers = tf.reshape(tf.range(members.shape[-1], dtype=classes.dtype), [-1, 1, 1])
    outside = tf.not_equal(classes[:, tf.newaxis], numbers) | ~valid[:, tf.newaxis]
    distances = tf.transpose(kseg_ops.distance_transform(outside, spacing), [0, 2, 3, 1])
    # The nearest valid pixel outside of a class belongs to another class.
    infinity = tf.constant(math.inf, distances.dtype)
    nearest_other = tf.reduce_min(tf.where(members, infinity, distances), axis=-1, keepdims=True)
    return tf.stop_gradient(tf.where(members, -nearest_other, distances))
