"""Bilinear resampling of one axis, written as taps so that any part of the result can be had alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Taps:
    """Which source pixels make up each result pixel.

    Attributes:
        indices: int64 `(T, n)`, the source pixels of each of the `n` results.
        weights: float32 `(T, n)`; those of one result sum to 1.
    """

    indices: np.ndarray
    weights: np.ndarray

    def __call__(self, array: np.ndarray, axis: int) -> np.ndarray:
        """Resamples one axis of a float32 array. No more is held than the array, the result and one term of it."""
        shape = [1] * array.ndim
        shape[axis] = -1
        total = None
        for index, weight in zip(self.indices, self.weights, strict=True):
            term = np.take(array, index, axis=axis)
            term *= weight.reshape(shape)
            total = term if total is None else np.add(total, term, out=total)
        return total

    def shifted(self, first: int) -> Taps:
        """The same taps of an array that begins at source pixel `first`."""
        return Taps(self.indices - first, self.weights)


def bilinear_taps(wanted: np.ndarray, length: int, source_length: int, antialias: bool) -> Taps:
    """Taps of the pixels `wanted` of an axis of `source_length` pixels resized to `length`.

    Pixel centres lie at halves, as in `tf.image.resize`. Beyond its ends the source repeats its outermost pixels
    (without antialiasing), or only the part of the kernel inside counts (with it): both as `tf.image.resize` does.

    Args:
        wanted: pixels of the result, integers within `0..length - 1`, in any order and number.
        length: pixels of the whole result.
        source_length: pixels of the whole source.
        antialias: where the result is smaller, widen the kernel to the size of a result pixel.
    """
    ratio = source_length / length
    centres = (np.asarray(wanted, np.float64) + 0.5) * ratio
    width = max(ratio, 1.0) if antialias else 1.0
    first = np.floor(centres - 0.5 - width).astype(np.int64) + 1
    count = int(np.ceil(2 * width))
    indices = first + np.arange(count)[:, np.newaxis]
    weights = np.maximum(0.0, 1.0 - np.abs(indices + 0.5 - centres) / width)
    if antialias:
        weights[(indices < 0) | (indices >= source_length)] = 0.0
    weights /= weights.sum(axis=0)
    return Taps(indices.clip(0, source_length - 1), weights.astype(np.float32))


def mirrored_pixels(wanted: np.ndarray, length: int) -> np.ndarray:
    """Positions on an axis that is mirrored at its outermost pixels, as pixels of it."""
    if length == 1:
        return np.zeros_like(wanted)
    position = np.abs(wanted) % (2 * (length - 1))
    return np.minimum(position, 2 * (length - 1) - position)
