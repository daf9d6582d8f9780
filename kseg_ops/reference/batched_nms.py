"""The specification of `kseg_ops.batched_nms` in stock TensorFlow."""

from __future__ import annotations

import math

import tensorflow as tf

from kseg_ops._nms_arguments import BatchedNMS, BatchedOptions
from kseg_ops.reference.suppression import (
    LARGEST,
    LEAST,
    Corners,
    gaussian_decay,
    pick,
    plain,
    prepare,
    without_subnormals,
)
from kseg_ops.reference.tiled_suppression import matrix_worst, pick_tiled


def batched_nms(
    boxes: tf.Tensor, scores: tf.Tensor, class_ids: tf.Tensor | None, options: BatchedOptions
) -> BatchedNMS:
    """Picks the best boxes of each image after hard, soft or matrix suppression.

    Compiles under XLA where shapes are static.

    Args:
        boxes: float32 `[B, N, 4]` or `[B, N, C, 4]`.
        scores: float32 `[B, N]` or `[B, N, C]`.
        class_ids: int32 `[B, N]`, negative for padding, with scores `[B, N]`; or None.
        options: the other arguments.
    """
    boxes, scores = tf.stop_gradient(boxes), tf.stop_gradient(scores)
    # Shapes [B, N, C or 1, 4] and [B, N, C]. One row more, which cannot be picked: there is always one to search among.
    boxes = boxes[:, :, None] if boxes.shape.rank == 3 else boxes
    scores = scores[:, :, None] if scores.shape.rank == 2 else scores
    with tf.control_dependencies(_checks(boxes, scores, class_ids)):
        boxes = tf.pad(boxes, [[0, 0], [0, 1], [0, 0], [0, 0]])
        scores = tf.pad(without_subnormals(scores), [[0, 0], [0, 1], [0, 0]], constant_values=-math.inf)
    classes = tf.broadcast_to(tf.range(tf.shape(scores)[2]), tf.shape(scores))
    if class_ids is not None:
        classes = tf.pad(class_ids, [[0, 0], [0, 1]], constant_values=-1)[:, :, None]
    groups = tf.zeros_like(classes) if options.class_agnostic else classes
    corners = Corners(*(tf.broadcast_to(part, tf.shape(scores)) for part in prepare(boxes)))

    threshold = plain(options.score_threshold)
    if options.method != "hard":
        threshold = max(threshold, LEAST)  # decays lower positive scores only
        scores = tf.minimum(scores, LARGEST)
    alive = (scores > threshold) & (classes >= 0)
    if options.method.startswith("matrix"):
        scores = scores * _matrix_decay(corners, scores, groups, alive, class_ids is None, options)
        alive &= scores > threshold

    per_row = scores.shape[2] or tf.shape(scores)[2]
    flat = [_flat(part) for part in (scores, groups, alive)]
    flat_corners = Corners(*(_flat(part) for part in corners))
    limits = options.max_output_size, options.max_per_class
    if options.method in ("linear", "gaussian"):
        picked, picked_scores = pick(flat_corners, *flat, *limits, _soften(options, threshold))
    else:  # matrix NMS has done its part: nothing suppresses any more
        hard = options.method == "hard"
        picked, picked_scores = pick_tiled(flat_corners if hard else None, *flat, *limits, options.iou_threshold)

    images = boxes.shape[0] or scores.shape[0]  # what is known of either, for the static shape
    picked = tf.ensure_shape(picked, [images, options.max_output_size])
    picked_scores = tf.ensure_shape(picked_scores, [images, options.max_output_size])
    valid = picked >= 0
    candidates = tf.maximum(picked, 0)
    rows = candidates // per_row
    if boxes.shape[2] != 1:
        # A box of its own for each class, as far as shapes are known now.
        boxes = tf.broadcast_to(boxes, tf.concat([tf.shape(scores), [4]], 0))
        kept = tf.gather(tf.reshape(boxes, [tf.shape(boxes)[0], -1, 4]), candidates, batch_dims=1)
    else:
        kept = tf.gather(boxes[:, :, 0], rows, batch_dims=1)
    return BatchedNMS(
        boxes=tf.ensure_shape(tf.where(valid[..., None], kept, 0.0), [images, options.max_output_size, 4]),
        scores=picked_scores,
        classes=tf.where(valid, tf.gather(_flat(classes), candidates, batch_dims=1), -1),
        indices=tf.where(valid, rows, -1),
        num_valid=tf.reduce_sum(tf.cast(valid, tf.int32), axis=1),
    )


def _flat(values: tf.Tensor) -> tf.Tensor:
    shape = values.shape
    count = shape[1] * shape[2] if shape[1] is not None and shape[2] is not None else -1
    images = tf.shape(values)[0] if shape[0] is None else shape[0]
    if count == -1:  # not inferred by reshape(): there may be no image
        count = tf.shape(values)[1] * tf.shape(values)[2]
    return tf.reshape(values, [images, count])


def _checks(boxes: tf.Tensor, scores: tf.Tensor, class_ids: tf.Tensor | None) -> list:
    equal = tf.debugging.assert_equal
    sets, classes = tf.shape(boxes)[2], tf.shape(scores)[2]
    checks = [
        equal(tf.shape(scores)[:2], tf.shape(boxes)[:2], message="scores must have the images and rows of boxes"),
        tf.debugging.Assert((sets == 1) | (sets == classes), ["boxes must be one per row or one per class, got", sets]),
        tf.debugging.assert_positive(classes, message="scores must have at least one class"),
    ]
    if class_ids is not None:
        checks.append(
            equal(tf.shape(class_ids), tf.shape(scores)[:2], message="class_ids must have the shape of scores")
        )
    return [check for check in checks if check is not None]


def _soften(options: BatchedOptions, threshold: float):
    least = max(options.iou_threshold, LEAST)

    def lower(scores, alive, overlap, same):
        if options.method == "gaussian":
            decay = tf.where(same, gaussian_decay(overlap * overlap, options.sigma), 1.0)
        else:
            decay = tf.where(same & (overlap > least), 1.0 - overlap, 1.0)
        scores = scores * decay
        return scores, alive & (scores > threshold)

    return lower


def _matrix_decay(
    corners: Corners, scores: tf.Tensor, groups: tf.Tensor, alive: tf.Tensor, by_column: bool, options: BatchedOptions
) -> tf.Tensor:
    """The decay of every candidate, `[B, N, C]`."""
    shape = tf.shape(scores)
    if by_column and not options.class_agnostic:
        # Columns do not meet: all of them at once.
        def lay(values):
            return tf.transpose(values, [0, 2, 1])
    else:

        def lay(values):
            return _flat(values)[:, None]

    corners, scores, groups, alive = Corners(*map(lay, corners)), lay(scores), lay(groups), lay(alive)
    gaussian = options.method == "matrix_gaussian"
    worst = matrix_worst(corners, scores, groups, alive, gaussian)
    decay = gaussian_decay(worst, options.sigma) if gaussian else worst
    if by_column and not options.class_agnostic:
        return tf.transpose(decay, [0, 2, 1])
    return tf.reshape(decay, shape)
