"""Arithmetic of boxes that the layers of detectors share: float32, `x1, y1, x2, y2` in pixels."""

from __future__ import annotations

import math

import tensorflow as tf

from kseg._class_arguments import is_finite_number

# How much larger than its reference a decoded box can be: exp(this) times, as in the published code.
MAX_LOG_SCALE = math.log(1000 / 16)


def as_float32(boxes) -> tf.Tensor:
    """Boxes as a float32 tensor.

    Raises:
        TypeError: 16-bit boxes, whose coordinates are already rounded.
    """
    boxes = tf.convert_to_tensor(boxes)
    if boxes.dtype in (tf.float16, tf.bfloat16):
        raise TypeError(f"boxes must be float32, got {boxes.dtype.name}: a coordinate of 1003.3 would be 1004")
    return tf.cast(boxes, tf.float32)


def centers_and_sizes(boxes):
    """The centres `(x, y)` and the sizes `(w, h)` of boxes, `[..., 2]` each."""
    sizes = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * sizes, sizes


def encode(boxes, references, weights):
    """What brings reference boxes to boxes (Girshick et al. 2014, "R-CNN", appendix C).

    Args:
        boxes: `[..., 4]`, not empty.
        references: `[..., 4]`, not empty.
        weights: four factors, of x, y, w and h.

    Returns:
        `[..., 4]`: the shift of the centre in sizes of the reference, and the logarithm of the factor of the size.
    """
    center, size = centers_and_sizes(boxes)
    from_center, from_size = centers_and_sizes(references)
    shift = (center - from_center) / from_size
    return tf.concat([shift, tf.math.log(size / from_size)], axis=-1) * tf.constant(weights, tf.float32)


def decode(deltas, references, weights):
    """The boxes that `encode` was given.

    Args:
        deltas: `[..., 4]`.
        references: `[..., 4]`, broadcast against the deltas.
        weights: four factors, of x, y, w and h.
    """
    center, size = centers_and_sizes(references)
    deltas = deltas / tf.constant(weights, tf.float32)
    center = deltas[..., :2] * size + center
    half = 0.5 * (tf.exp(tf.minimum(deltas[..., 2:], MAX_LOG_SCALE)) * size)
    return tf.concat([center - half, center + half], axis=-1)


def clip(boxes, sizes):
    """Boxes `[B, ..., 4]`, cut to images of sizes `[B, 2]`: heights and widths."""
    limits = tf.cast(tf.gather(sizes, [1, 0, 1, 0], axis=1), tf.float32)
    limits = tf.reshape(limits, [tf.shape(sizes)[0], *[1] * (boxes.shape.rank - 2), 4])
    return tf.minimum(tf.maximum(boxes, 0.0), limits)


def large_enough(boxes, least: float):
    """Whether both sides of boxes `[..., 4]` are at least so long."""
    return tf.reduce_all(boxes[..., 2:] - boxes[..., :2] >= least, axis=-1)


def areas(boxes):
    """Of boxes `[..., 4]`."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def common_areas(first, second):
    """The common area of boxes, of which each of the four sides is a tensor of its own; they are broadcast."""

    def overlap(low, high):
        return tf.maximum(tf.minimum(first[high], second[high]) - tf.maximum(first[low], second[low]), 0.0)

    return overlap(0, 2) * overlap(1, 3)


def check_weights(weights):
    """Four positive numbers as a tuple.

    Raises:
        ValueError: anything else.
    """
    numbers = weights if isinstance(weights, (list, tuple)) else ()
    if len(numbers) != 4 or not all(is_finite_number(number) and number > 0 for number in numbers):
        raise ValueError(f"box_weights must be four positive numbers, of x, y, w and h; got {weights!r}")
    return tuple(float(number) for number in numbers)


def check_share(name, value):
    """A number from 0 to 1.

    Raises:
        ValueError: anything else.
    """
    if not is_finite_number(value) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a number in 0..1; got {value!r}")


def check_count(name, value):
    """A positive int.

    Raises:
        ValueError: anything else.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a positive int; got {value!r}")
