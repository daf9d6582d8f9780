"""The specification of `kseg_ops.mask_nms` in stock TensorFlow, for a batch and with results of fixed size.

A mask takes part if its class id is not -1, its score is not NaN, and its score is above the score threshold (where
there is one; above 0 for the kinds that decay scores). Masks come by falling score; of equal scores the lower index
comes first. Only masks of one class suppress each other.

- hard: a mask is dropped if its IoU with a better one that is kept is above `iou_threshold`.
- soft: the best remaining mask is taken, and every other's score is multiplied by `exp(-iou**2 / sigma)`; repeated.
- matrix: a score is multiplied once, by the least over all better masks i of
  `exp(-iou**2 / sigma) / exp(-most_i**2 / sigma)`, where `most_i` is the largest IoU of i with a mask better than i.

The Gaussian is computed in integers, and every product is rounded before anything else happens to it, so that results
do not hang on who computes them. Subnormal numbers count as 0: TensorFlow's threads read them so, and others do not.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from kseg_ops.reference import mask_bits

_PADDING_CLASS = -1
_LEAST_NORMAL = float(np.finfo(np.float32).tiny)
# (-ln 2)**n / n! with 30 fractional bits.
_EXP2_SERIES = (1073741824, -744261118, 257941248, -59597083, 10327387, -1431680, 165394, -16377, 1419, -109, 8)


def mask_nms(
    masks: tf.Tensor,
    scores: tf.Tensor,
    class_ids: tf.Tensor,
    max_output_size: int | None,
    kind: str,
    iou_threshold: float,
    score_threshold: float | None,
    sigma: float,
    width: int | None,
    boxes: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Suppresses masks by their overlap; compiles under XLA where shapes are static.

    Args:
        masks: bool or uint8 `[B, N, H, W]`, packed if `width` is given.
        scores: float32 `[B, N]`.
        class_ids: int32 `[B, N]`.
        max_output_size: K, the size of the results; None: N.
        kind: "hard", "soft" or "matrix".
        iou_threshold: for "hard".
        score_threshold: or None.
        sigma: for "soft" and "matrix".
        width: of packed masks, or None.
        boxes: float32 `[B, N, 4]`, outside which masks count as empty, or None.

    Returns:
        Indices int32 `[B, K]` (padded with -1), scores float32 `[B, K]` (padded with 0), and how many are valid,
        int32 `[B]`.
    """
    flat = mask_bits.flatten(tf.ensure_shape(masks, [None] * 4), width, boxes)
    scores = tf.ensure_shape(scores, [None, None])
    class_ids = tf.ensure_shape(class_ids, [None, None])
    scores = tf.where(tf.abs(scores) < _LEAST_NORMAL, 0.0, scores)
    least = _least_score(kind, score_threshold)
    valid = (class_ids != _PADDING_CLASS) & ~tf.math.is_nan(scores)
    if least is not None:
        valid &= scores > least
    common, area, _ = mask_bits.counts(flat, flat)
    iou = mask_bits.iou(common, area[:, :, None] + area[:, None, :] - common)
    # [b, i, j]: i may act on j.
    index = tf.range(tf.shape(scores)[1])
    mine, theirs = scores[:, :, None], scores[:, None, :]
    acts = (mine > theirs) | ((mine == theirs) & (index[:, None] < index))
    acts &= valid[:, :, None] & valid[:, None, :] & (class_ids[:, :, None] == class_ids[:, None, :])
    iou = tf.where(valid[:, :, None] & valid[:, None, :] & (class_ids[:, :, None] == class_ids[:, None, :]), iou, 0.0)

    if max_output_size is None:
        max_output_size = tf.shape(scores)[1] if scores.shape[1] is None else scores.shape[1]
    if kind == "hard":
        kept = _hard(scores, valid, acts & (iou > np.float32(iou_threshold)))
    elif kind == "soft":
        scores, kept = _soft(scores, valid, iou, max_output_size, least, sigma)
    else:
        scores = _matrix(scores, acts, iou, sigma)
        kept = valid & (scores > least)
    return _padded(scores, kept, max_output_size)


def _least_score(kind: str, score_threshold: float | None) -> float | None:
    if kind == "hard":
        return score_threshold
    return max(score_threshold or 0.0, 0.0)


def _by_score(scores: tf.Tensor, which: tf.Tensor) -> tf.Tensor:
    """Indices by falling score, those that are not `which` last, else of equals the lower one first."""
    order = tf.argsort(tf.where(which, scores, -np.inf), direction="DESCENDING", stable=True)
    last = tf.cast(~tf.gather(which, order, batch_dims=1), tf.int32)
    return tf.gather(order, tf.argsort(last, stable=True), batch_dims=1)


def _hard(scores: tf.Tensor, valid: tf.Tensor, suppresses: tf.Tensor) -> tf.Tensor:
    order = _by_score(scores, valid)

    def step(turn, kept):
        index = order[:, turn]
        mine = tf.gather(kept, index, batch_dims=1)
        return turn + 1, kept & ~(tf.gather(suppresses, index, batch_dims=1) & mine[:, None])

    return tf.while_loop(lambda turn, _: turn < tf.shape(scores)[1], step, (0, valid))[1]


def _soft(scores, valid, iou, max_output_size, least: float, sigma: float) -> tuple[tf.Tensor, tf.Tensor]:
    count = tf.shape(scores)[1]

    def step(turn, scores, kept):
        remaining = tf.where(valid & ~kept, scores, -np.inf)
        best = tf.argmax(remaining, 1, tf.int32)
        taken = tf.one_hot(best, count, True, False) & (remaining > least)
        kept |= taken
        found = tf.reduce_any(taken, 1, keepdims=True)
        overlap = tf.cast(tf.gather(iou, best, batch_dims=1), tf.float64)
        changed = found & ~kept & (overlap > 0)
        return turn + 1, tf.where(changed, _decayed(scores, overlap * overlap, sigma), scores), kept

    turns = tf.minimum(count, max_output_size)
    start = (0, scores, tf.zeros_like(valid))
    return tf.while_loop(lambda turn, *_: turn < turns, step, start)[1:]


def _matrix(scores: tf.Tensor, acts: tf.Tensor, iou: tf.Tensor, sigma: float) -> tf.Tensor:
    acting = tf.cast(tf.where(acts, iou, 0.0), tf.float64)
    squared = acting * acting
    # Every reduction begins with 0, so that it has a value without masks, too.
    nothing = tf.zeros_like(scores, tf.float64)[:, None, :]
    most = tf.reduce_max(tf.concat([nothing, squared], 1), 1)
    exponent = tf.where(acts, squared - most[:, :, None], 0)
    exponent = tf.reduce_max(tf.concat([nothing, exponent], 1), 1)
    return tf.where(exponent > 0, _decayed(scores, exponent, sigma), scores)


def _decayed(scores: tf.Tensor, exponent: tf.Tensor, sigma: float) -> tf.Tensor:
    """`scores * exp(-exponent / sigma)`; float32, with a float64 `exponent` that is not negative."""
    halvings = exponent * (1.4426950408889634 / float(np.float32(sigma)))
    vanishes = ~(halvings < 126)
    fixed = tf.cast(tf.where(vanishes, tf.zeros_like(halvings), halvings) * 2.0**30, tf.int64)
    fraction = tf.bitwise.bitwise_and(fixed, 2**30 - 1)
    thirty = tf.constant(30, tf.int64)
    power = tf.fill(tf.shape(fixed), tf.constant(_EXP2_SERIES[-1], tf.int64))
    for coefficient in reversed(_EXP2_SERIES[:-1]):
        power = tf.bitwise.right_shift(power * fraction, thirty) + coefficient
    exponent_bits = 1023 - 30 - tf.bitwise.right_shift(fixed, thirty)
    scale = tf.bitcast(tf.bitwise.left_shift(exponent_bits, tf.constant(52, tf.int64)), tf.float64)
    decayed = tf.cast(tf.cast(scores, tf.float64) * (tf.cast(power, tf.float64) * scale), tf.float32)
    return tf.where(vanishes | (tf.abs(decayed) < _LEAST_NORMAL), 0.0, decayed)


def _padded(scores: tf.Tensor, kept: tf.Tensor, size) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    order = _by_score(scores, kept)[:, :size]
    missing = [[0, 0], [0, size - tf.shape(order)[1]]]
    number = tf.minimum(tf.reduce_sum(tf.cast(kept, tf.int32), 1), size)
    valid = tf.range(size) < number[:, None]
    found = tf.pad(tf.gather(scores, order, batch_dims=1), missing)
    indices = tf.where(valid, tf.pad(order, missing), -1)
    found = tf.where(valid, found, 0.0)
    static = [scores.shape[0], size if isinstance(size, int) else None]
    return tf.ensure_shape(indices, static), tf.ensure_shape(found, static), number
