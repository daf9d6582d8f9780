"""Cutting crops out of images, masks and weights, in step."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real

import tensorflow as tf

# Positions in the split of a sample's seed. Fixed, so that switching one change on leaves the draws of the others
# alone. `kseg.data.Augment` has the others of them.
CROP = 5
SPLITS = 16


def pair_of_sizes(argument: str, value) -> tuple[int, int] | None:
    """`value` as (height, width) in pixels; None stays None."""
    if value is None:
        return None
    pair = (value, value) if isinstance(value, Real) else tuple(value)
    if len(pair) != 2 or any(isinstance(side, bool) or int(side) != side or side < 1 for side in pair):
        raise ValueError(f"{argument} must be a number of pixels or (height, width), each at least 1, got {value!r}")
    return int(pair[0]), int(pair[1])


def crop_maps(image, maps, size: tuple[int, int], place: Callable | None, seed):
    """Cuts `size` out of an image and the maps that belong to it.

    Smaller ones are first padded below and to the right.

    Args:
        image: float32 `(H, W, C)`, padded with 0.
        maps: pairs of a tensor `(H, W)` and the number that it is padded with; the labels first.
        size: height and width.
        place: `(labels, size, seed int32 [2]) -> (top, left)`, or None for the centre.
        seed: the sample's, int32 `[2]`.

    Returns:
        The image, and a list of the maps.
    """
    labels = maps[0][0]
    missing = tf.maximum(tf.constant(size) - tf.shape(labels), 0)
    if place is None:
        height, width = static_or_dynamic(labels)
        top, left = tf.maximum(height - size[0], 0) // 2, tf.maximum(width - size[1], 0) // 2
    else:
        # Chosen before the padding, whose label may be a class where the source has no void.
        top, left = place(labels, size, tf.random.split(seed, num=SPLITS)[CROP])
    image = tf.pad(image, [[0, missing[0]], [0, missing[1]], [0, 0]])
    image = tf.slice(image, [top, left, 0], [size[0], size[1], -1])
    padded = [tf.pad(one, [[0, missing[0]], [0, missing[1]]], constant_values=value) for one, value in maps]
    return image, [tf.slice(one, [top, left], [size[0], size[1]]) for one in padded]


def uniform_place(labels, size, seed):
    """Top and left corner of a crop: uniform where it fits, 0 where the image is smaller."""
    room = _room(labels, size)
    drawn = tf.random.stateless_uniform([2], seed, alg="philox") * tf.cast(room + 1, tf.float32)
    # float32 products can round up to the excluded upper end.
    corner = tf.minimum(tf.cast(drawn, tf.int32), room)
    return corner[0], corner[1]


def place_around(labels, size, pixel):
    """Top and left corner of the crop whose centre is nearest to `pixel`, int32 `[2]`, within the image."""
    corner = tf.clip_by_value(pixel - tf.constant([size[0] // 2, size[1] // 2]), 0, _room(labels, size))
    return corner[0], corner[1]


def static_or_dynamic(image):
    """Height and width: integers where they are known, else scalar tensors."""
    shape = tf.shape(image)
    return tuple(shape[axis] if image.shape[axis] is None else image.shape[axis] for axis in (0, 1))


def _room(labels, size):
    return tf.maximum(tf.stack(static_or_dynamic(labels)) - tf.constant(size), 0)
