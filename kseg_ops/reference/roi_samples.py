"""The samples of RoIAlign along one axis, for everything that resamples boxes.

A box covers `[start, start + size)` in pixels of the map, cut into equal bins, and each bin takes `count` samples in
the middles of its equal parts:

    position = start + bin_index * bin_size + (sample + 0.5) * bin_size / count

A sample outside `[-1, extent]` counts as 0; one outside `[0, extent - 1]` takes the pixel at the border; any other
interpolates linearly between its two neighbours. No sample of a box that is not finite counts.

Positions are computed in exactly this order of operations, because comparing them with the border and rounding `count`
up are discontinuous.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf


class Taps(NamedTuple):
    """For each box and bin the pixels that are read along an axis, with repetition: both `[K, bins, taps]`."""

    index: tf.Tensor  # int32, always a valid pixel
    weight: tf.Tensor  # 0 for a sample that does not count


def sample_taps(begin, end, extent, bins: int, spatial_scale, sampling_ratio: int, aligned: bool) -> Taps:
    """The taps of boxes along an axis.

    Args:
        begin: `[K]` in box units.
        end: likewise.
        extent: int or int32 scalar; with a fixed `sampling_ratio` also int32 `[K]`, one per box.
        bins: per box.
        spatial_scale: a float, or float32 `[K]`.
        sampling_ratio: see `kseg_ops.roi_align`.
        aligned: see there.
    """
    real = begin.dtype
    limit = tf.reshape(tf.cast(extent, real), [-1, 1, 1])
    scale = tf.cast(tf.cast(spatial_scale, tf.float32), real)
    offset = tf.cast(0.5 if aligned else 0.0, real)
    start = begin * scale - offset
    size = end * scale - offset - start
    # No position of a box that is not finite counts.
    start = tf.where(tf.math.is_finite(start) & tf.math.is_finite(size), start, tf.cast(np.nan, real))
    if not aligned:
        size = tf.where(size < 1, tf.ones_like(size), size)
    start, size = start[:, None, None], size[:, None, None]
    bin_size = size / bins
    bin_start = start + tf.range(bins, dtype=real)[:, None] * bin_size
    if sampling_ratio > 0:
        count = tf.cast(sampling_ratio, real)
        sample = tf.range(sampling_ratio, dtype=real)
        counted = True
    else:
        # Samples are at most a pixel apart, so that more than `window` of one bin never meet the map, however large the
        # box. `first` leaves some to spare for rounding.
        count = tf.math.ceil(bin_size)
        window = extent + 16
        first = tf.where(
            count > tf.cast(window, real), tf.maximum(tf.floor((-1 - bin_start) * count / bin_size) - 4, 0), 0
        )
        sample = first + tf.range(window, dtype=real)
        counted = sample < count
    position = bin_start + (sample + 0.5) * bin_size / count
    inside = counted & (position >= -1) & (position <= limit)  # False for NaN
    position = tf.clip_by_value(tf.where(inside, position, 0), 0, limit - 1)
    low = tf.floor(position)
    high_weight = position - low
    weight = tf.concat([1 - high_weight, high_weight], axis=-1) / count
    weight = tf.where(tf.concat([inside, inside], axis=-1), weight, 0)
    index = tf.cast(tf.concat([low, tf.minimum(low + 1, limit - 1)], axis=-1), tf.int32)
    return Taps(index, weight)


def dense_weights(taps: Taps, extent) -> tf.Tensor:
    """The taps as matrices `[K, bins, extent]`."""
    boxes, bins = size_of(taps.index, 0), size_of(taps.index, 1)
    line = tf.reshape(tf.range(boxes * bins), [boxes, bins, 1])
    weights = tf.math.unsorted_segment_sum(taps.weight, line * extent + taps.index, boxes * bins * extent)
    return tf.reshape(weights, [boxes, bins, extent])


def size_of(tensor: tf.Tensor, axis: int):
    """An int where it is known, else an int32 scalar."""
    static = tensor.shape[axis]
    return tf.shape(tensor)[axis] if static is None else static
