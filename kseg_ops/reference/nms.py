"""The specification of `kseg_ops.nms` in stock TensorFlow."""

from __future__ import annotations

import math

import tensorflow as tf

from kseg_ops.reference.suppression import Corners, plain, prepare, without_subnormals
from kseg_ops.reference.tiled_suppression import pick_tiled


def nms(
    boxes: tf.Tensor,
    scores: tf.Tensor,
    class_ids: tf.Tensor | None,
    iou_threshold: float,
    score_threshold: float = -math.inf,
    max_output_size: int = -1,
) -> tf.Tensor:
    """Picks the best box, drops those of its class that overlap it by more than the threshold, and so on.

    The size of the result depends on the values, so that XLA cannot compile this; `batched_nms` has a fixed size.

    Args:
        boxes: float32 `[N, 4]`.
        scores: float32 `[N]`.
        class_ids: int32 `[N]`, negative for padding, or None.
        iou_threshold: `0..1`.
        score_threshold: what scores must be above.
        max_output_size: how many are kept at most; -1: any number.

    Returns:
        int32 `[K]`: indices of the kept boxes, best first.
    """
    boxes, scores = tf.stop_gradient(boxes), tf.stop_gradient(scores)
    count = tf.shape(boxes)[0]
    checks = [tf.debugging.assert_equal(tf.size(scores), count, message="scores must have one entry per box")]
    if class_ids is not None:
        checks.append(
            tf.debugging.assert_equal(tf.size(class_ids), count, message="class_ids must have one entry per box")
        )
    with tf.control_dependencies([check for check in checks if check is not None]):
        scores = without_subnormals(scores)
    # One row more, which cannot be picked: there is always one to search among.
    scores = tf.pad(scores, [[0, 1]], constant_values=-math.inf)
    boxes = tf.pad(boxes, [[0, 1], [0, 0]])
    alive = scores > plain(score_threshold)
    if class_ids is None:
        groups = tf.zeros_like(scores, tf.int32)
    else:
        groups = tf.pad(class_ids, [[0, 1]], constant_values=-1)
        alive &= groups >= 0
    most = count if max_output_size < 0 else tf.minimum(count, min(max_output_size, 2**31 - 1))
    corners = Corners(*(part[None] for part in prepare(boxes)))
    picked, _ = pick_tiled(corners, scores[None], groups[None], alive[None], most, -1, iou_threshold)
    return tf.boolean_mask(picked[0], picked[0] >= 0)
