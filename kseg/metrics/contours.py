"""Contours of masks as elements with a place and a length, and the distances between two of them."""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

import kseg_ops


class ContourDistances(NamedTuple):
    """How far each element of one contour is from another contour.

    Attributes:
        distances: float64 `(N,)`; +inf if the other contour is empty, and where there is no element.
        lengths: float64 `(N,)`, 0 where there is no element.
    """

    distances: tf.Tensor
    lengths: tf.Tensor

    def total_length(self):
        return tf.reduce_sum(self.lengths)

    def total_distance(self):
        """The sum over elements of distance times length."""
        return tf.reduce_sum(tf.where(self.lengths > 0, self.distances * self.lengths, tf.zeros_like(self.lengths)))

    def percentile(self, percentile):
        """The least distance that at least `percentile` percent of the contour's length are not above."""
        order = tf.argsort(self.distances)
        reached = tf.cumsum(tf.gather(self.lengths, order))
        # So that rounding in the sums does not pass over an element with which the share is reached exactly.
        wanted = tf.reduce_sum(self.lengths) * (percentile / 100 * (1 - 1e-12))
        index = tf.reduce_sum(tf.cast(reached < wanted, tf.int32))
        return tf.gather(self.distances, order[tf.minimum(index, tf.size(order) - 1)])


def contour_distances(first, second, spacing, everywhere=False):
    """The distances of the contours of two masks from each other.

    The contour of a mask passes through the corners of pixels: through each at which not all of the four pixels that
    meet there (outside the image: background) are alike. What lies around such a corner is an element of the contour,
    its length that of the line between the middles of the pixels' common sides: half a pixel's diagonal where one pixel
    differs from the three others, a side where two neighbours differ from the other two, a diagonal where two pixels
    touch at the corner only. Distances are those from corner to nearest corner of the other contour.

    Source: the definition of github.com/google-deepmind/surface-distance (Nikolov et al., "Deep learning to achieve
    clinically applicable segmentation of head and neck anatomy for radiotherapy", 2018).

    Args:
        first: bool `(H, W)`.
        second: bool `(H, W)`.
        spacing: Python numbers, the distances of rows and of columns.
        everywhere: whether the results have a place for each of the `(H + 1) * (W + 1)` corners, as XLA wants it, which
            cannot know how many elements there are; else only for elements.

    Returns:
        `ContourDistances` of the elements of the first contour from the second, and the other way round.
    """
    codes = _neighbour_codes(tf.stack([first, second]))
    elements = (codes > 0) & (codes < 15)
    # The transform measures how far foreground is from background.
    distances = kseg_ops.distance_transform(~elements, sampling=spacing)
    table = _length_table(*spacing)

    def of_contour(own, other):
        if everywhere:
            lengths = tf.gather(table, tf.cast(codes[own], tf.int32))
            away = tf.where(elements[own], distances[other], math.inf)
            return ContourDistances(*(tf.reshape(tf.cast(part, tf.float64), [-1]) for part in (away, lengths)))
        places = tf.where(elements[own])
        lengths = tf.gather(table, tf.cast(tf.gather_nd(codes[own], places), tf.int32))
        return ContourDistances(tf.cast(tf.gather_nd(distances[other], places), tf.float64), lengths)

    return of_contour(0, 1), of_contour(1, 0)


def _neighbour_codes(masks):
    """Which of the pixels around each corner are set: 8, 4, 2, 1 for upper left, upper right, lower left, lower right.

    Args:
        masks: bool `(N, H, W)`.

    Returns:
        int8 `(N, H + 1, W + 1)`.
    """
    bits = tf.pad(tf.cast(masks, tf.int8), [[0, 0], [1, 1], [1, 1]])
    rows = 2 * bits[:, :, :-1] + bits[:, :, 1:]
    return 4 * rows[:, :-1] + rows[:, 1:]


def _length_table(row, column):
    """The length of the contour's element for each of the 16 codes."""
    diagonal = math.hypot(row, column)
    lengths = []
    for code in range(16):
        upper_left, upper_right, lower_left, lower_right = (bool(code & bit) for bit in (8, 4, 2, 1))
        if upper_left + upper_right + lower_left + lower_right in (0, 4):
            lengths.append(0.0)
        elif upper_left + upper_right + lower_left + lower_right in (1, 3):
            lengths.append(diagonal / 2)
        elif upper_left == upper_right:  # and the two below are the others: the contour runs along the row
            lengths.append(column)
        elif upper_left == lower_left:
            lengths.append(row)
        else:
            lengths.append(diagonal)
    return tf.constant(lengths, tf.float64)
