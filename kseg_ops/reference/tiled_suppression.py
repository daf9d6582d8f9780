"""Hard and matrix suppression in few steps: tile by tile, what picking box after box gives."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from kseg_ops.reference.suppression import LEAST, Corners, iou

# Candidates that one step takes, and picks that it compares them with.
_TILE = 128
# Numbers in a matrix of overlaps, of a few of which a step of matrix NMS consists.
_MATRIX = 1 << 20


def pick_tiled(
    corners: Corners | None,
    scores: tf.Tensor,
    groups: tf.Tensor,
    alive: tf.Tensor,
    most: int | tf.Tensor,
    most_per_group: int,
    iou_threshold: float,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Hard suppression; arguments and results are those of `suppression.pick`. None suppresses without `corners`.

    Candidates are sorted and taken by tiles. Of a tile, what overlaps an earlier pick is thrown out. Whether one of the
    others is picked hangs only on better ones of its tile: their answers are iterated until they no longer change,
    which they do at most once per link of the longest chain. A group's limit is applied last, because whoever comes
    after it has been reached would be dropped anyway.
    """
    order = tf.argsort(tf.where(alive, scores, -np.inf), axis=1, direction="DESCENDING", stable=True)
    images = tf.shape(scores)[0] if scores.shape[0] is None else scores.shape[0]
    count = tf.shape(scores)[1]
    size = min(_TILE, scores.shape[1] or _TILE)
    missing = [[0, 0], [0, -count % size]]

    def lay(values):
        return tf.pad(tf.gather(values, order, batch_dims=1), missing)

    groups, alive = lay(groups), lay(alive)
    corners = None if corners is None else Corners(*map(lay, corners))
    threshold = max(iou_threshold, LEAST)
    most_per_group = 2**31 - 1 if most_per_group < 0 else min(most_per_group, 2**31 - 1)
    candidates = tf.reduce_sum(tf.cast(alive, tf.int32), 1)  # they come first
    chunks = (most + size - 1) // size
    earlier = tf.range(size)[:, None] < tf.range(size)

    def tile_of(values, tile):
        return tf.slice(values, [0, tile * size], tf.stack([images, size]))

    def met(some, others, group_of_some, group_of_others):
        """`[B, S, S]`: who is of whose group, and who throws out whom."""
        same = group_of_some[:, :, None] == group_of_others[:, None]
        if corners is None:
            return same, None
        overlap = iou(Corners(*(part[:, :, None] for part in some)), Corners(*(part[:, None] for part in others)))
        return same, same & (overlap > threshold)

    def step(tile, picked, number):
        mine = None if corners is None else Corners(*(tile_of(part, tile) for part in corners))
        my_groups = tile_of(groups, tile)

        def against(chunk, left, before):
            positions = tile_of(picked, chunk)
            there = (positions >= 0)[:, :, None]
            positions = tf.maximum(positions, 0)

            def at(values):
                return tf.gather(values, positions, batch_dims=1)

            same, drops = met(None if corners is None else map(at, corners), mine, at(groups), my_groups)
            before += tf.reduce_sum(tf.cast(same & there, tf.int32), 1)
            return chunk + 1, left if drops is None else left & ~tf.reduce_any(drops & there, 1), before

        full = (tf.reduce_max(number) + size - 1) // size
        start = (0, tile_of(alive, tile), tf.zeros_like(my_groups))
        if corners is not None or most_per_group < 2**31 - 1:
            start = tf.while_loop(lambda chunk, *_: chunk < full, against, start)
        _, left, before = start
        same, drops = met(mine, mine, my_groups, my_groups)
        kept = left
        if drops is not None:
            drops &= earlier

            def settle(_, kept):
                now = left & ~tf.reduce_any(drops & kept[:, :, None], 1)
                return tf.reduce_any(now != kept), now

            _, kept = tf.while_loop(lambda changed, _: changed, settle, (tf.constant(True), left))
        before += tf.reduce_sum(tf.cast(same & earlier & kept[:, :, None], tf.int32), 1)
        kept &= before < most_per_group
        place = number[:, None] + tf.cumsum(tf.cast(kept, tf.int32), 1) - 1
        # Beyond the last place there is one more, for what is not picked.
        place = tf.where(kept & (place < most), place, chunks * size)
        image = tf.broadcast_to(tf.range(images)[:, None], tf.shape(place))
        position = tf.broadcast_to(tile * size + tf.range(size), tf.shape(place))
        picked = tf.tensor_scatter_nd_update(picked, tf.stack([image, place], -1), position)
        number = tf.minimum(number + tf.reduce_sum(tf.cast(kept, tf.int32), 1), most)
        return tile + 1, tf.ensure_shape(picked, shapes[1]), tf.ensure_shape(number, shapes[2])

    picked = tf.fill(tf.stack([images, chunks * size + 1]), -1)
    state = (tf.constant(0), picked, tf.zeros_like(candidates))
    shapes = tuple(part.shape for part in state)
    _, picked, number = tf.while_loop(
        lambda tile, _, number: tf.reduce_any((number < most) & (tile * size < candidates)),
        step,
        state,
        shape_invariants=shapes,
    )
    picked = picked[:, :most]
    found = tf.range(most) < number[:, None]
    picked = tf.gather(order, tf.where(found, picked, 0), batch_dims=1)
    picked_scores = tf.gather(scores, picked, batch_dims=1)
    return tf.where(found, picked, -1), tf.where(found, picked_scores, 0.0)


def matrix_worst(corners: Corners, scores: tf.Tensor, groups: tf.Tensor, alive: tf.Tensor, gaussian: bool) -> tf.Tensor:
    """What matrix NMS lowers each score by, for `[..., T]` candidates: the worst over all better ones of its group.

    With `gaussian` the largest difference of squared overlaps, which is not negative, else the least quotient, which is
    at most 1. Takes the candidates by falling score, a tile at a time: how far those of the tile are themselves covered
    is then known from the tiles before and from the tile, and says what their overlaps mean for all behind them.
    """
    rank = scores.shape.rank
    order = tf.argsort(tf.where(alive, scores, -np.inf), axis=-1, direction="DESCENDING", stable=True)
    elements = np.prod([extent or 256 for extent in scores.shape.as_list()])
    size = int(min(scores.shape[-1] or _TILE, max(1, min(_TILE, _MATRIX // max(1, elements)))))
    count = tf.shape(scores)[-1]
    missing = [[0, 0]] * (rank - 1) + [[0, -count % size]]

    def lay(values):
        return tf.pad(tf.gather(values, order, batch_dims=rank - 1), missing)

    corners, alive = Corners(*map(lay, corners)), lay(alive)
    # Whoever is not alive meets nobody: groups of those that are alive are not negative.
    groups = lay(groups)
    groups, others = tf.where(alive, groups, -1)[..., None, :], tf.where(alive, groups, -2)
    last = tf.reduce_max(tf.concat([[0], tf.reshape(tf.reduce_sum(tf.cast(alive, tf.int32), -1), [-1])], 0))
    later = tf.range(tf.shape(others)[-1])

    def step(tile, covered, worst):
        def at(values):
            begin = tf.concat([tf.zeros([rank - 1], tf.int32), [tile * size]], 0)
            return tf.slice(values, begin, tf.concat([tf.shape(values)[:-1], [size]], 0))[..., None]

        meets = (at(others) == groups) & (tile * size + tf.range(size)[:, None] < later)
        overlap = iou(Corners(*map(at, corners)), Corners(*(part[..., None, :] for part in corners)))
        overlap = tf.where(meets, overlap, 0.0)
        covered = tf.maximum(covered, tf.reduce_max(overlap, -2))
        mine = at(covered)
        if gaussian:
            # The least quotient of exponentials is that of the largest difference.
            excess = tf.maximum(overlap * overlap, 0.0) - tf.maximum(mine * mine, 0.0)
            worst = tf.maximum(worst, tf.reduce_max(excess, -2))
        else:
            remaining = 1.0 - mine
            quotient = tf.where(remaining > 0, (1.0 - overlap) / remaining, 1.0)
            worst = tf.minimum(worst, tf.reduce_min(quotient, -2))
        return tile + 1, tf.ensure_shape(covered, shapes[1]), tf.ensure_shape(worst, shapes[2])

    covered = tf.zeros_like(corners.area)
    state = (tf.constant(0), covered, covered if gaussian else tf.ones_like(covered))
    shapes = tuple(part.shape for part in state)
    _, _, worst = tf.while_loop(lambda tile, *_: tile * size < last, step, state, shape_invariants=shapes)
    back = tf.argsort(order, axis=-1)
    return tf.gather(worst, back, batch_dims=rank - 1)
