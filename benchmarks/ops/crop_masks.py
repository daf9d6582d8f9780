"""Mask targets, against torchvision's project_masks_on_boxes (which takes dense masks and makes floats of them)."""

from __future__ import annotations

import os

# Before TensorFlow, as in roi_align.py here.
try:
    import torch
    from torchvision.models.detection.roi_heads import project_masks_on_boxes
except ImportError:
    torch = None

import numpy as np
import tensorflow as tf

import kseg_ops
from benchmarks.harness import Row, Timer
from benchmarks.ops.rle import blobs
from kseg_ops import rle

HEIGHT, WIDTH, MASKS, BOXES, SIZE = 800, 1216, 50, 512, 28
PEER = "torchvision project_masks_on_boxes, dense masks"
LIMIT = "reading the packed bits of all boxes once at the rate of a copy"


def case(seed: int = 0) -> tuple[list, list, np.ndarray, np.ndarray]:
    """RLEs, polygons, and sampled proposals: boxes around objects, moved and stretched."""
    rles, polygons = blobs(MASKS, seed)
    random = np.random.default_rng(seed)
    indices = random.integers(0, MASKS, BOXES).astype(np.int32)
    boxes = rle.to_boxes(rles)[indices]
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    boxes = np.clip(boxes + random.normal(0, 0.1, (BOXES, 4)) * sides, 0, [WIDTH, HEIGHT] * 2)
    return rles, polygons, boxes.astype(np.float32), indices


def run(timer: Timer) -> list[Row]:
    """Times every form of masks; torchvision's column is there only where it is installed."""
    rles, polygons, boxes, indices = case()
    masks = rle.decode(rles)
    counts = tf.ragged.constant(rle.to_counts(rles), tf.int32)
    ragged = tf.ragged.constant([[polygon] for polygon in polygons], tf.float32, ragged_rank=2)
    forms = {
        "dense": (tf.constant(masks), {}),
        "packed": (tf.constant(np.packbits(masks, axis=-1, bitorder="little")), {"width": WIDTH}),
        "run lengths": (counts, {"image_size": (HEIGHT, WIDTH)}),
        "polygons": (ragged, {"image_size": (HEIGHT, WIDTH)}),
    }
    peer = _torchvision(masks, boxes, indices)
    rows = []
    for name, (given, options) in forms.items():
        baselines = dict(peer)
        if name == "packed":
            baselines[LIMIT] = _copy(boxes)
        rows.append(
            timer.compare(
                f"crop_masks of {name}, {MASKS} masks {HEIGHT}x{WIDTH}, {BOXES} boxes -> {SIZE}x{SIZE}",
                _ours(given, boxes, indices, options),
                baselines,
                bars={PEER: 10.0 if name == "dense" else 20.0} if peer else None,
            )
        )
    return rows


def _ours(masks, boxes, indices, options):
    boxes, indices = tf.constant(boxes), tf.constant(indices)

    @tf.function
    def crop(masks, boxes, indices):
        return kseg_ops.crop_masks(masks, boxes, SIZE, indices, aligned=False, **options)  # as the peer has it

    return lambda: crop(masks, boxes, indices)


def _torchvision(masks, boxes, indices) -> dict:
    if torch is None:
        return {}
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    given = [torch.from_numpy(array) for array in (masks, boxes, indices.astype(np.int64))]
    return {PEER: lambda: project_masks_on_boxes(*given, SIZE)}


def _copy(boxes):
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1)
    source = np.ones(int((sides[:, 0] / 8 * sides[:, 1]).sum()), np.uint8)
    target = np.empty_like(source)
    return lambda: np.copyto(target, source)
