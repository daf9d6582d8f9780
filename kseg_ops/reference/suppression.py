"""What the references of nms and batched_nms are made of: overlaps, decays, and picking one box after another.

A decision hangs on the last bit of an IoU. So that this is the same in every form, boxes are prepared such that no
number overflows or becomes subnormal (which TensorFlow's threads take for 0 and others do not), and a product is
bounded below by 0, which changes nothing, before it goes into a sum: no compiler fuses the two then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

# Coordinates closer to 0 count as 0.
LEAST_COORDINATE = 2.0**-36
# Areas beyond this count as those of degenerate boxes.
MOST_AREA = 2.0**126
# The smallest number that is not subnormal. IoUs below it count as 0, and soft scores at or below it are dropped.
LEAST = 2.0**-126
LARGEST = float(np.finfo(np.float32).max)


class Corners(NamedTuple):
    """Corners and areas of boxes, each of the same shape; zeros for a box that overlaps nothing."""

    x1: tf.Tensor
    y1: tf.Tensor
    x2: tf.Tensor
    y2: tf.Tensor
    area: tf.Tensor

    def at(self, index: tf.Tensor) -> Corners:
        """One box of the last axis, for all the axes before it."""
        return Corners(*(pick_along_last(part, index)[..., None] for part in self))


def pick_along_last(values: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """`values[..., index]` for each of the leading axes, which `index` has too."""
    return tf.gather(values, index, axis=-1, batch_dims=index.shape.rank)


def prepare(boxes: tf.Tensor) -> Corners:
    """Boxes `[..., 4]` in parts `[...]`; degenerate, inverted and infinite ones and those with NaN as zeros."""
    boxes = tf.where(tf.abs(boxes) < LEAST_COORDINATE, 0.0, boxes)
    x1, y1, x2, y2 = tf.unstack(boxes, num=4, axis=-1)
    width, height = x2 - x1, y2 - y1
    area = width * height
    # False for NaN; an infinite coordinate gives an infinite area or NaN.
    overlaps = (width > 0) & (height > 0) & (area <= MOST_AREA)
    return Corners(*(tf.where(overlaps, part, 0.0) for part in (x1, y1, x2, y2, area)))


def iou(a: Corners, b: Corners) -> tf.Tensor:
    """Intersection over union of boxes whose parts broadcast."""
    width = tf.maximum(tf.minimum(a.x2, b.x2) - tf.maximum(a.x1, b.x1), 0.0)
    height = tf.maximum(tf.minimum(a.y2, b.y2) - tf.maximum(a.y1, b.y1), 0.0)
    intersection = tf.maximum(width * height, 0.0)
    return tf.where(intersection > 0, intersection / ((a.area + b.area) - intersection), 0.0)


def without_subnormals(values: tf.Tensor) -> tf.Tensor:
    """Zero for what is closer to it than any normal number, and for -0."""
    return tf.where(tf.abs(values) < LEAST, 0.0, values)


def plain(threshold: float) -> float:
    """A threshold for scores that have no subnormals."""
    return 0.0 if abs(threshold) < LEAST else threshold


def exp_minus(x: tf.Tensor) -> tf.Tensor:
    """`exp(-x)` for `x >= 0`, at most 1 and 0 beyond 87, in sums and products that a kernel can repeat to the bit."""
    bounded = tf.minimum(x, 87.0)
    halvings = tf.math.ceil(bounded * np.float32(1.44269504))
    # halvings * ln 2 - x in two parts, the first of which is exact.
    rest = (halvings * 0.693359375 - bounded) - tf.maximum(halvings * np.float32(2.12194440e-4), 0.0)
    rest = tf.maximum(rest, 0.0)
    power = tf.fill(tf.shape(x), np.float32(1) / np.float32(362880))
    for factorial in (40320, 5040, 720, 120, 24, 6, 2, 1, 1):
        power = tf.maximum(power * rest, 0.0) + np.float32(1) / np.float32(factorial)
    scale = tf.bitcast(tf.bitwise.left_shift(127 - tf.cast(halvings, tf.int32), 23), tf.float32)
    value = tf.minimum(power * scale, 1.0)
    return tf.where(x > 87, 0.0, tf.where(x < 2.0**-30, 1.0, value))


def gaussian_decay(squared_iou: tf.Tensor, sigma: float) -> tf.Tensor:
    """`exp(-squared_iou / sigma)`."""
    return exp_minus(squared_iou * (np.float32(1) / np.float32(sigma)))


# From the scores, who is still in, the IoU with the pick and who is of its group: new scores, and who stays in.
Lower = Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def pick(
    corners: Corners | None,
    scores: tf.Tensor,
    groups: tf.Tensor,
    alive: tf.Tensor,
    most: int | tf.Tensor,
    most_per_group: int,
    lower: Lower | None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Picks the best candidate again and again, and after each pick lowers the others of its group.

    Args:
        corners: of the candidates, `[B, T]` each; None without `lower`.
        scores: float32 `[B, T]`, above -inf where `alive`.
        groups: int32 `[B, T]`: candidates of different groups do not meet.
        alive: bool `[B, T]`: who can be picked.
        most: picks at most.
        most_per_group: picks of one group at most, or -1.
        lower: what a pick does to its group; None: nothing.

    Returns:
        Positions int32 `[B, most]`, -1 behind the last pick, and scores float32 `[B, most]`, 0 there.
    """
    places = tf.range(most)[None]
    positions = tf.range(tf.shape(scores)[1])[None]
    images = tf.shape(scores)[0]

    def step(i, scores, alive, counts, picked, picked_scores):
        best = tf.argmax(tf.where(alive, scores, -np.inf), axis=1, output_type=tf.int32)
        found = pick_along_last(alive, best)
        here = (places == i) & found[:, None]
        picked = tf.where(here, best[:, None], picked)
        picked_scores = tf.where(here, pick_along_last(scores, best)[:, None], picked_scores)
        same = (groups == pick_along_last(groups, best)[:, None]) & found[:, None]
        alive = alive & (positions != best[:, None])
        if lower is not None:
            scores, alive = lower(scores, alive, iou(corners.at(best), corners), same)
        if most_per_group >= 0:
            counts = counts + tf.cast(same, tf.int32)
            alive = alive & (counts < most_per_group)
        return i + 1, scores, alive, counts, picked, picked_scores

    most_per_group = min(most_per_group, 2**31 - 1)
    state = (
        tf.constant(0),
        scores,
        alive,
        tf.zeros_like(groups),
        tf.fill(tf.stack([images, most]), -1),
        tf.zeros(tf.stack([images, most])),
    )
    shapes = tuple(part.shape for part in state)
    state = tf.while_loop(
        lambda i, scores, alive, *_: (i < most) & tf.reduce_any(alive), step, state, shape_invariants=shapes
    )
    return state[4], state[5]
