"""Pairwise mask IoU, against pycocotools on run lengths and against a dense matrix product in TensorFlow."""

from __future__ import annotations

try:
    from pycocotools import mask as coco
except ImportError:
    coco = None

import numpy as np
import tensorflow as tf

import kseg_ops
from benchmarks.harness import Row, Timer

COUNT, HEIGHT, WIDTH = 100, 800, 1216

PYCOCOTOOLS = "pycocotools, encoded before"
MATMUL = "tf.matmul of dense masks"
READ = "limit: the packed masks read once"


def random_masks(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Ellipses with a wavy edge: sides of 16 to 512 pixels evenly on a log scale."""
    generator = np.random.default_rng(seed)
    masks = np.zeros((count, height, width), np.uint8)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    for mask in masks:
        radii = np.exp(generator.uniform(np.log(16), np.log(512), 2)) / 2
        centre = generator.uniform(0, 1, 2) * (height, width)
        dy, dx = (y - centre[0]) / radii[0], (x - centre[1]) / radii[1]
        edge = 1 + 0.2 * np.sin(generator.integers(3, 9) * np.arctan2(dy, dx) + generator.uniform(0, 6))
        mask[:] = dy * dy + dx * dx < edge
    return masks


def predicted_masks(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """What a mask head of 14 x 14 outputs gives in its boxes: ragged blobs, with holes."""
    generator = np.random.default_rng(seed)
    values = generator.uniform(0.35, 1.35, (count, 14, 14)).astype(np.float32)
    # The boxes of roi_align.py; not imported from there, because torch has to be loaded before TensorFlow.
    side = np.exp(generator.uniform(np.log(16), np.log(512), count))
    aspect = np.exp(generator.uniform(-np.log(2), np.log(2), count))
    sizes = np.minimum(np.stack([side * np.sqrt(aspect), side / np.sqrt(aspect)], 1), [width, height])
    corners = generator.uniform(0, 1, (count, 2)) * ([width, height] - sizes)
    boxes = np.concatenate([corners, corners + sizes], 1).astype(np.float32)
    return kseg_ops.paste_masks(values, boxes, (height, width)).numpy()


def bounding_boxes(masks: np.ndarray) -> np.ndarray:
    """x1 y1 x2 y2 around the pixels of each mask, none of which is empty."""
    boxes = []
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        boxes.append((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    return np.array(boxes, np.float32)


def run(timer: Timer) -> list[Row]:
    """Packed masks, the form that stands against run lengths, without and with their boxes, and dense ones.

    How long run lengths take depends on how many runs there are: smooth outlines have few. The bar is for predictions.
    """
    rows = []
    what = f"{COUNT} x {COUNT} masks of {HEIGHT}x{WIDTH}"
    iou = tf.function(lambda a, b: kseg_ops.mask_iou(a, b, width=WIDTH))
    boxed_iou = tf.function(lambda a, b, x, y: kseg_ops.mask_iou(a, b, width=WIDTH, boxes_a=x, boxes_b=y))
    read = tf.function(lambda a, b: (tf.reduce_max(tf.bitcast(a, tf.int8)), tf.reduce_max(tf.bitcast(b, tf.int8))))
    for kind, make in (("smooth", random_masks), ("predicted", predicted_masks)):
        a, b = make(COUNT, HEIGHT, WIDTH, 0), make(COUNT, HEIGHT, WIDTH, 1)
        packed = kseg_ops.pack_masks(a), kseg_ops.pack_masks(b)
        baselines, bars = {}, {}
        if coco is not None:
            encoded = [[coco.encode(np.asfortranarray(mask)) for mask in masks] for masks in (a, b)]
            baselines[PYCOCOTOOLS] = lambda encoded=encoded: coco.iou(*encoded, [0] * COUNT)
            bars = {PYCOCOTOOLS: 10.0} if kind == "predicted" else {}
        baselines[READ] = lambda packed=packed: read(*packed)
        rows.append(
            timer.compare(f"mask_iou, {kind}, {what}, packed", lambda packed=packed: iou(*packed), baselines, bars=bars)
        )
        # Both sides then know the same: run lengths say where a mask begins and ends, and pycocotools takes the boxes
        # from them. A detector has these boxes, because it pasted the masks into them.
        boxes = tf.constant(bounding_boxes(a)), tf.constant(bounding_boxes(b))
        baselines["kseg itself without boxes"] = lambda packed=packed: iou(*packed)
        rows.append(
            timer.compare(
                f"mask_iou, {kind}, {what}, packed, with boxes",
                lambda packed=packed, boxes=boxes: boxed_iou(*packed, *boxes),
                {name: call for name, call in baselines.items() if name != READ},
                bars=bars,
            )
        )

    dense = tf.constant(a), tf.constant(b)
    dense_iou = tf.function(lambda a, b: kseg_ops.mask_iou(a, b))

    @tf.function
    def stock(a, b):
        a, b = (tf.cast(tf.reshape(masks, [COUNT, -1]), tf.float32) for masks in (a, b))
        common = tf.matmul(a, b, transpose_b=True)
        union = tf.reduce_sum(a, 1)[:, None] + tf.reduce_sum(b, 1) - common
        return tf.math.divide_no_nan(common, union)

    baselines = {MATMUL: lambda: stock(*dense)}
    if coco is not None:

        def from_dense():
            runs = [coco.encode(np.asfortranarray(masks.transpose(1, 2, 0))) for masks in (a, b)]
            return coco.iou(*runs, [0] * COUNT)

        baselines["pycocotools, encoding included"] = from_dense
    rows.append(timer.compare(f"mask_iou, {kind}, {what}, dense", lambda: dense_iou(*dense), baselines, repeats=3))
    return rows
