"""Masks with a bit per pixel, in stock TensorFlow: pixel x is bit `x % 8` of byte `x // 8` of its row."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

# Pixels of all masks that one step of a sum over pixels turns into floats: exact in float32, and a few megabytes.
_CHUNK_PIXELS = 1 << 16


def pack(masks: tf.Tensor) -> tf.Tensor:
    """Bool or uint8 `[..., W]` (0: not set) -> uint8 `[..., ceil(W / 8)]`."""
    bits = tf.cast(tf.cast(masks, tf.bool), tf.uint8)
    width = tf.shape(bits)[-1]
    rank = bits.shape.rank
    padded = tf.pad(bits, [[0, 0]] * (rank - 1) + [[0, -width % 8]])
    shape = tf.concat([tf.shape(bits)[:-1], [(width + 7) // 8, 8]], 0)
    packed = None
    for index, bit in enumerate(tf.unstack(tf.reshape(padded, shape), 8, axis=-1)):
        shifted = tf.bitwise.left_shift(bit, tf.constant(index, tf.uint8))
        packed = shifted if packed is None else tf.bitwise.bitwise_or(packed, shifted)
    static = bits.shape[-1]
    return tf.ensure_shape(packed, bits.shape[:-1].concatenate([None if static is None else (static + 7) // 8]))


def unpack(packed: tf.Tensor, width) -> tf.Tensor:
    """uint8 `[..., ceil(width / 8)]` -> uint8 `[..., width]` of 0 and 1. `width`: an int or an int32 scalar."""
    bits = tf.bitwise.right_shift(packed[..., None], tf.constant(list(range(8)), tf.uint8))
    bits = tf.bitwise.bitwise_and(bits, tf.constant(1, tf.uint8))
    shape = tf.shape(packed)
    rows = tf.reshape(bits, tf.concat([shape[:-1], [shape[-1] * 8]], 0))[..., :width]
    return tf.ensure_shape(rows, packed.shape[:-1].concatenate([width if isinstance(width, int) else None]))


def flatten(masks: tf.Tensor, width: int | None, boxes: tf.Tensor | None = None) -> tf.Tensor:
    """Bool or uint8 `[..., N, H, W]`, packed if `width` is given -> bool `[..., N, H * W]`.

    With `boxes`, float32 `[..., N, 4]` (x1 y1 x2 y2), pixels are False that a mask's box does not touch.
    """
    if width is not None:
        masks = unpack(masks, width)
    masks = tf.cast(masks, tf.bool)
    shape = tf.shape(masks)
    if boxes is not None:
        masks &= _inside(boxes, shape[-2], shape[-1])
    return tf.reshape(masks, tf.concat([shape[:-2], [shape[-2] * shape[-1]]], 0))


def _inside(boxes: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """The pixels that boxes touch, bool `[..., N, H, W]`: none if a box has no area, is inverted or has a NaN."""
    # Threads differ in whether they read subnormal numbers as 0.
    boxes = tf.where(tf.abs(boxes) < float(np.finfo(np.float32).tiny), 0.0, boxes)
    x1, y1, x2, y2 = tf.unstack(boxes[..., None], num=4, axis=-2)

    def between(begin, end, extent):
        # In float64, which holds any index and any coordinate.
        pixels = tf.cast(tf.range(extent), tf.float64)
        begin, end = tf.floor(tf.cast(begin, tf.float64)), tf.math.ceil(tf.cast(end, tf.float64))
        return (pixels >= begin) & (pixels < end)

    rows = between(y1, y2, height) & (x1 < x2) & (y1 < y2)
    return rows[..., None] & between(x1, x2, width)[..., None, :]


def counts(a: tf.Tensor, b: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Exact pixel counts, as float64: of `a_i and b_j` `[..., N, M]`, of `a` `[..., N]` and of `b` `[..., M]`.

    Args:
        a: bool `[..., N, P]`.
        b: bool `[..., M, P]`.
    """
    pixels = tf.shape(a)[-1]
    steps = (pixels + _CHUNK_PIXELS - 1) // _CHUNK_PIXELS
    if a.shape[-1] is not None and a.shape[-1] <= _CHUNK_PIXELS:
        return _counts_of_chunk(a, b)
    a, b = _chunked(a, steps), _chunked(b, steps)
    sizes = tf.shape(a)[:-2], tf.shape(a)[:-2], tf.shape(b)[:-2]
    start = (
        tf.zeros(tf.concat([sizes[0], [tf.shape(b)[-3]]], 0), tf.float64),
        tf.zeros(sizes[1], tf.float64),
        tf.zeros(sizes[2], tf.float64),
    )
    static = a.shape[:-2], b.shape[:-2]
    start = (
        tf.ensure_shape(start[0], static[0].concatenate(static[1][-1:])),
        tf.ensure_shape(start[1], static[0]),
        tf.ensure_shape(start[2], static[1]),
    )

    def step(index, *sums):
        found = _counts_of_chunk(tf.gather(a, index, axis=-2), tf.gather(b, index, axis=-2))
        return index + 1, *(one + more for one, more in zip(sums, found, strict=True))

    return tf.while_loop(lambda index, *_: index < steps, step, (0, *start))[1:]


def _counts_of_chunk(a: tf.Tensor, b: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    a, b = tf.cast(a, tf.float32), tf.cast(b, tf.float32)
    found = tf.matmul(a, b, transpose_b=True), tf.reduce_sum(a, -1), tf.reduce_sum(b, -1)
    return tuple(tf.cast(one, tf.float64) for one in found)


def _chunked(masks: tf.Tensor, steps) -> tf.Tensor:
    """Bool `[..., N, P]` -> `[..., N, steps, _CHUNK_PIXELS]`, padded with False."""
    shape = tf.shape(masks)
    missing = steps * _CHUNK_PIXELS - shape[-1]
    padded = tf.pad(masks, [[0, 0]] * (masks.shape.rank - 1) + [[0, missing]])
    chunks = tf.reshape(padded, tf.concat([shape[:-1], [steps, _CHUNK_PIXELS]], 0))
    return tf.ensure_shape(chunks, masks.shape[:-1].concatenate([None, _CHUNK_PIXELS]))


def iou(intersection: tf.Tensor, denominator: tf.Tensor) -> tf.Tensor:
    """Counts -> float32; 0 over 0 is 0. The quotient is rounded to float64 first, as in the compiled op."""
    some = denominator > 0
    return tf.cast(tf.where(some, intersection / tf.where(some, denominator, 1), 0), tf.float32)
