"""NMS by mask overlap, against what stock TensorFlow offers: the IoU matrix by a product, then NMS on overlaps."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

import kseg_ops
from benchmarks.harness import Row, Timer
from benchmarks.ops.mask_iou import bounding_boxes, random_masks

COUNT, HEIGHT, WIDTH = 300, 200, 304

STOCK = "tf.matmul + non_max_suppression_overlaps"
MATRIX = "matrix NMS in TensorFlow"


def run(timer: Timer) -> list[Row]:
    """Masks at a quarter of the image's size, as the heads that use it predict them."""
    masks = np.repeat(random_masks(COUNT // 3, HEIGHT, WIDTH), 3, 0)
    generator = np.random.default_rng(0)
    for index in range(COUNT):  # copies that have moved: something to suppress
        masks[index] = np.roll(masks[index], generator.integers(-4, 5, 2), (0, 1))
    dense = tf.constant(masks)
    packed = kseg_ops.pack_masks(dense)
    boxes = tf.constant(bounding_boxes(masks))
    scores = tf.constant(generator.uniform(0.05, 1, COUNT).astype(np.float32))
    what = f"{COUNT} masks of {HEIGHT}x{WIDTH}"

    def iou_matrix(masks):
        flat = tf.cast(tf.reshape(masks, [COUNT, -1]), tf.float32)
        common = tf.matmul(flat, flat, transpose_b=True)
        area = tf.reduce_sum(flat, 1)
        return tf.math.divide_no_nan(common, area[:, None] + area - common)

    @tf.function
    def stock(masks, scores):
        return tf.image.non_max_suppression_overlaps(iou_matrix(masks), scores, COUNT, 0.5)

    @tf.function
    def stock_matrix(masks, scores):
        order = tf.argsort(scores, direction="DESCENDING")
        iou = tf.linalg.band_part(iou_matrix(tf.gather(masks, order)), 0, -1)
        iou -= tf.linalg.diag(tf.linalg.diag_part(iou))
        most = tf.reduce_max(iou, 0)[:, None]
        return tf.gather(scores, order) * tf.reduce_min(tf.exp((most**2 - iou**2) / 0.5), 0)

    rows = []
    for kind, baseline, call in (("hard", STOCK, stock), ("matrix", MATRIX, stock_matrix), ("soft", None, None)):
        from_dense = tf.function(lambda masks, scores, kind=kind: kseg_ops.mask_nms(masks, scores, kind=kind))
        from_packed = tf.function(
            lambda masks, scores, kind=kind: kseg_ops.mask_nms(masks, scores, kind=kind, width=WIDTH)
        )
        boxed = tf.function(
            lambda masks, scores, boxes, kind=kind: kseg_ops.mask_nms(
                masks, scores, kind=kind, width=WIDTH, boxes=boxes
            )
        )
        baselines = {
            "dense masks": lambda call=from_dense: call(dense, scores),
            "packed masks with their boxes": lambda call=boxed: call(packed, scores, boxes),
        }
        if call is not None:
            baselines[baseline] = lambda call=call: call(dense, scores)
        rows.append(
            timer.compare(
                f"mask_nms {kind}, {what}, packed", lambda call=from_packed: call(packed, scores), baselines, repeats=3
            )
        )
    return rows
