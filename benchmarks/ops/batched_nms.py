"""`kseg_ops.batched_nms` against `tf.image.combined_non_max_suppression`, and on region proposals of a batch."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

import kseg_ops
from benchmarks.harness import Row, Timer
from benchmarks.proposals import proposal_boxes

STOCK = "tf.image.combined_non_max_suppression"
# Every score must be read.
LIMIT = "tf.reduce_max of the scores (limit)"


def detections(images: int, rows: int, classes: int, sharp: bool) -> tuple[np.ndarray, np.ndarray]:
    """Boxes `[B, N, 4]` in an image of size 1 (as the stock op wants them), and scores `[B, N, C]`.

    Sharp scores are a softmax with one likely class per row, as of a trained detector; the others are uniform, so that
    every candidate counts.
    """
    generator = np.random.default_rng(2)
    boxes = np.stack([proposal_boxes(rows, seed) for seed in range(images)]) / np.float32(1300)
    if not sharp:
        return boxes, generator.uniform(0, 1, (images, rows, classes)).astype(np.float32)
    logits = generator.normal(size=(images, rows, classes))
    logits[..., :1] += generator.normal(4, 3, (images, rows, 1))
    logits = generator.permuted(logits, axis=2)
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return boxes, (exponentials / exponentials.sum(-1, keepdims=True)).astype(np.float32)


def run(timer: Timer) -> list[Row]:
    """Measures every case."""
    rows = []
    for images, sharp, threshold in ((1, True, 0.05), (1, False, 0.05), (8, True, 0.05), (8, False, 0.05)):
        boxes, scores = detections(images, 1000, 80, sharp)
        what = f"{images} x 1000 x 80, {'softmax' if sharp else 'uniform'} scores above {threshold}, 100 kept"
        rows.append(_combined(timer, what, boxes, scores, threshold))
    boxes, scores = (tf.constant(array) for array in detections(1, 1000, 80, True))
    for kind in ("linear", "gaussian", "matrix"):
        soft = tf.function(lambda boxes, scores, kind=kind: kseg_ops.batched_nms(boxes, scores, 0.5, 0.05, kind=kind))
        hard = tf.function(lambda boxes, scores: kseg_ops.batched_nms(boxes, scores, 0.5, 0.05))
        rows.append(
            timer.compare(
                f"batched_nms, 1 x 1000 x 80, softmax scores, {kind}",
                lambda soft=soft: soft(boxes, scores).num_valid.numpy(),
                {"the same, hard": lambda hard=hard: hard(boxes, scores).num_valid.numpy()},
            )
        )
    rows.append(_proposals(timer, 8, 12000, 1000))
    return rows


def _combined(timer: Timer, what: str, boxes: np.ndarray, scores: np.ndarray, threshold: float) -> Row:
    boxes, scores = tf.constant(boxes), tf.constant(scores)

    @tf.function
    def ours(boxes, scores):
        return kseg_ops.batched_nms(boxes, scores, 0.5, threshold, 100, 100)

    @tf.function
    def stock(boxes, scores):
        return tf.image.combined_non_max_suppression(boxes[:, :, None], scores, 100, 100, 0.5, threshold)

    @tf.function
    def pass_over(scores):
        return tf.reduce_max(scores)

    return timer.compare(
        f"batched_nms, {what}",
        lambda: ours(boxes, scores).num_valid.numpy(),
        {
            STOCK: lambda: stock(boxes, scores).valid_detections.numpy(),
            LIMIT: lambda: pass_over(scores).numpy(),
        },
        bars={STOCK: 2.0},
    )


def _proposals(timer: Timer, images: int, rows: int, most: int) -> Row:
    generator = np.random.default_rng(3)
    boxes = tf.constant(np.stack([proposal_boxes(rows, seed) for seed in range(images)]))
    scores = tf.constant(generator.uniform(0, 1, (images, rows)).astype(np.float32))

    @tf.function
    def ours(boxes, scores):
        return kseg_ops.batched_nms(boxes, scores, 0.7, max_output_size=most)

    @tf.function
    def stock(boxes, scores):
        def one(image):
            return tf.image.non_max_suppression_padded(*image, most, 0.7, pad_to_max_output_size=True)[0]

        return tf.map_fn(one, (boxes, scores), fn_output_signature=tf.int32)

    return timer.compare(
        f"batched_nms, {images} x {rows} proposals, {most} kept",
        lambda: ours(boxes, scores).indices.numpy(),
        {"tf.image.non_max_suppression_padded per image": lambda: stock(boxes, scores).numpy()},
    )
