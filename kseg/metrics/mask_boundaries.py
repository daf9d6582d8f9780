"""The inner boundaries of all masks of a class map at once."""

from __future__ import annotations

import tensorflow as tf

_OUTSIDE = -2  # differs from every class and from void


def mask_boundaries(maps, reach):
    """The pixels within `reach` rows and columns of a pixel of another class, or of the outside of the image.

    Those are what the masks of the classes lose in `reach` erosions by 3 x 3 pixels, for all classes in one pass: a
    square of pixels holds a second class if and only if two neighbours (also diagonal ones) in it differ, and the
    first such pair on a way of a king's moves from the middle outwards begins one move short of the square's side.

    Args:
        maps: int32 `(B, H, W)`, at least -1.
        reach: at least 1; a Python int, or an int32 scalar where XLA does not compile.

    Returns:
        bool `(B, H, W)`.
    """
    padded = tf.pad(maps, [[0, 0], [1, 1], [1, 1]], constant_values=_OUTSIDE)
    across = tf.not_equal(padded[:, :, 1:], padded[:, :, :-1])
    across = across[:, :, 1:] | across[:, :, :-1]  # differs from a neighbour in its row; all rows, padded or not
    along = tf.not_equal(padded[:, 1:, 1:-1], padded[:, :-1, 1:-1])
    edge = across[:, 1:-1] | along[:, 1:] | along[:, :-1] | across[:, 2:] | across[:, :-2]
    return _spread(_spread(edge, reach - 1, 1), reach - 1, 2)


def _spread(mask, by, axis):
    """Whether one of the pixels up to `by` places away along the axis is set."""
    if isinstance(by, int):
        by = min(by, (mask.shape[axis] or by) + 1)
        if by == 0:
            return mask
    paddings = [[by if dimension == axis else 0] * 2 for dimension in range(3)]
    mask = tf.pad(mask, paddings)
    # Whether one of `width` places from each on is set, for widths that double, and then for the width that is wanted.
    wanted, width = 2 * by + 1, 1
    if isinstance(by, int):
        while 2 * width <= wanted:
            mask, width = _or_ahead(mask, width, axis), 2 * width
        return _or_ahead(mask, wanted - width, axis) if wanted > width else mask
    shape = [None if dimension == axis else size for dimension, size in enumerate(mask.shape)]
    mask, width = tf.while_loop(
        lambda mask, width: 2 * width <= wanted,
        lambda mask, width: (_or_ahead(mask, width, axis), 2 * width),
        (mask, tf.constant(1)),
        shape_invariants=(tf.TensorShape(shape), tf.TensorShape([])),
    )
    return _or_ahead(mask, wanted - width, axis)


def _or_ahead(mask, by, axis):
    """Each place or the one `by` further along the axis; shorter by as much."""
    size = tf.shape(mask)[axis] if mask.shape[axis] is None else mask.shape[axis]
    if axis == 1:
        return mask[:, : size - by] | mask[:, by:]
    return mask[:, :, : size - by] | mask[:, :, by:]
