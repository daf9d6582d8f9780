"""The specification of `kseg_ops.distance_transform` in stock TensorFlow."""

from __future__ import annotations

import math

import tensorflow as tf


def distance_transform(
    masks: tf.Tensor, sampling: tuple[float, float], signed: bool, return_indices: bool
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Exact Euclidean distances; compiles under XLA where shapes are static.

    The squared distance is the least of `unit * (row * rows**2 + column * columns**2)` over all pixels of the other
    kind. It separates: first along columns, then along rows, each time by looking one step further on both sides until
    no pixel can gain from it. So the time is the number of pixels times the largest distance; the compiled op's is not.

    Args:
        masks: bool `[N, H, W]`.
        sampling: spacing of rows and of columns.
        signed: whether background has minus its distance to the foreground.
        return_indices: whether to tell which pixel is the nearest.

    Returns:
        float32 `[N, H, W]`, and int32 `[N, H, W, 2]` or None.
    """
    weights = distance_weights(sampling)
    distances, indices = _to_background(masks, weights, return_indices)
    if signed:
        outside, outside_indices = _to_background(tf.logical_not(masks), weights, return_indices)
        distances = tf.where(masks, distances, -outside)
        if return_indices:
            indices = tf.where(masks[..., None], indices, outside_indices)
    return distances, indices


def distance_weights(sampling: tuple[float, float]) -> tuple[float, float, float]:
    """`row`, `column` and `unit`: the squared distance is `unit * (row * rows**2 + column * columns**2)`.

    `row` and `column` are whole numbers where the squared spacings have a ratio of small ones, as all common spacings
    do: squared distances are then exact for sides of up to 2**15, so that ties are ties. cpp/ops/distance_transform/
    distance_weights.cc takes the same steps.
    """
    row, column = sampling[0] ** 2, sampling[1] ** 2
    ratio = row / column
    rest = ratio
    numerator, denominator, last = 1.0, 0.0, (0.0, 1.0)
    while True:
        # The next convergent of the ratio's continued fraction.
        whole = float(math.floor(rest))
        (numerator, denominator), last = (
            (whole * numerator + last[0], whole * denominator + last[1]),
            (numerator, denominator),
        )
        if numerator + denominator > 2**23:
            return row, column, 1.0
        if numerator > 0 and abs(numerator / denominator - ratio) <= 2.0**-50 * ratio:
            return numerator, denominator, column / denominator
        if rest == whole:
            return row, column, 1.0
        rest = 1 / (rest - whole)


def _to_background(
    masks: tf.Tensor, weights: tuple[float, float, float], return_indices: bool
) -> tuple[tf.Tensor, tf.Tensor | None]:
    row, column, unit = weights
    squared = tf.where(masks, tf.constant(math.inf, tf.float64), tf.constant(0.0, tf.float64))
    squared, rows = _spread(squared, 1, row)
    squared, columns = _spread(squared, 2, column)
    distances = tf.cast(tf.sqrt(squared * tf.constant(unit, tf.float64)), tf.float32)
    if not return_indices:
        return distances, None
    rows = tf.gather(rows, columns, axis=2, batch_dims=2)
    return distances, tf.where(tf.math.is_finite(squared)[..., None], tf.stack([rows, columns], axis=-1), -1)


def _spread(squared: tf.Tensor, axis: int, weight: float) -> tuple[tf.Tensor, tf.Tensor]:
    """For each place along the axis the least of `squared[place'] + weight * (place - place')**2`, and where.

    Of equal ones the first counts.
    """
    size = tf.shape(squared)[axis]
    along = [1, 1, 1]
    along[axis] = -1
    places = tf.range(size)
    own = tf.broadcast_to(tf.reshape(places, along), tf.shape(squared))

    def cost(distance: tf.Tensor) -> tf.Tensor:
        distance = tf.cast(distance, tf.float64)
        return tf.constant(weight, tf.float64) * (distance * distance)

    def shifted(by: tf.Tensor) -> tf.Tensor:
        source = places + by
        values = tf.gather(squared, tf.clip_by_value(source, 0, size - 1), axis=axis)
        inside = tf.reshape((source >= 0) & (source < size), along)
        return tf.where(inside, values, tf.constant(math.inf, tf.float64)) + cost(by)

    def goes_on(distance: tf.Tensor, best: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
        return (distance < size) & tf.reduce_any(best >= cost(distance))

    def look_further(distance: tf.Tensor, best: tf.Tensor, where: tf.Tensor) -> tuple:
        before, behind = shifted(-distance), shifted(distance)
        wins = before <= best
        best, where = tf.where(wins, before, best), tf.where(wins, own - distance, where)
        wins = behind < best
        return distance + 1, tf.where(wins, behind, best), tf.where(wins, own + distance, where)

    _, best, where = tf.while_loop(goes_on, look_further, [tf.constant(1), squared, own])
    # Where nothing was found, no place is meant: any that exists will do.
    return best, tf.clip_by_value(where, 0, size - 1)
