"""`kseg_ops.nms` against torchvision's CPU operator and `tf.image.non_max_suppression`.

The limit: a test of a pair takes ten vector operations (four minima and maxima, two differences, a maximum, a product,
a sum, a comparison). Where all boxes are kept, a plain form tests every pair; a matrix product of as many
multiply-adds shows how long the machine's vector units take for that at the least. A ratio above 1 is owed to pairs
that need no test.
"""

from __future__ import annotations

import os

# Before TensorFlow: the other way round, the two copies of LLVM in them end the process on some installations
# ("registered more than once").
try:
    import torch
    import torchvision
except ImportError:
    torch = None

import numpy as np
import tensorflow as tf

import kseg_ops
from benchmarks.harness import Row, Timer
from benchmarks.proposals import proposal_boxes

TORCHVISION = "torchvision.ops.nms"
STOCK = "tf.image.non_max_suppression"
LIMIT = "matrix product of 10 multiply-adds per pair (limit)"
OPERATIONS_PER_PAIR = 10


def disjoint_boxes(count: int) -> np.ndarray:
    """A grid of boxes that do not meet: all are kept."""
    index = np.arange(count)
    x, y = index % 120 * 10, index // 120 * 8
    return np.stack([x, y, x + 9, y + 7], 1).astype(np.float32)


def run(timer: Timer) -> list[Row]:
    """Times every case; torchvision's columns are there only where it is installed."""
    generator = np.random.default_rng(1)
    everything = (disjoint_boxes(12000), generator.uniform(0, 1, 12000).astype(np.float32))
    rows = [
        _row(timer, "12000 boxes, all kept", *everything, 0.7, None, {TORCHVISION: 25.0}, limit=True),
        _row(timer, "12000 boxes, 1000 kept", *everything, 0.7, 1000, {STOCK: 2.0}),
    ]
    for count, bars in ((12000, {TORCHVISION: 25.0}), (4000, {}), (1000, {})):
        boxes, scores = proposal_boxes(count), generator.uniform(0, 1, count).astype(np.float32)
        rows.append(_row(timer, f"{count} proposals in clusters", boxes, scores, 0.7, None, bars))
        rows.append(_row(timer, f"{count} proposals in clusters, at most 1000", boxes, scores, 0.7, 1000, {STOCK: 2.0}))
    class_ids = generator.integers(0, 80, 4000).astype(np.int32)
    boxes, scores = proposal_boxes(4000), generator.uniform(0, 1, 4000).astype(np.float32)
    rows.append(_row(timer, "4000 boxes of 80 classes", boxes, scores, 0.5, None, {}, class_ids=class_ids))
    return rows


def _row(timer, what, boxes, scores, threshold, most, bars, limit=False, class_ids=None) -> Row:
    given = [tf.constant(boxes), tf.constant(scores), *([] if class_ids is None else [tf.constant(class_ids)])]
    count = len(boxes)

    @tf.function
    def ours(boxes, scores, class_ids=None):
        return kseg_ops.nms(boxes, scores, threshold, most, class_ids=class_ids)

    @tf.function
    def stock(boxes, scores):
        return tf.image.non_max_suppression(boxes, scores, most or count, threshold)

    baselines = {}
    if torch is not None and most is None:
        torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
        tensors = [torch.from_numpy(array.numpy()) for array in given]
        if class_ids is None:
            baselines[TORCHVISION] = lambda: torchvision.ops.nms(*tensors, threshold)
        else:
            baselines["torchvision.ops.batched_nms"] = lambda: torchvision.ops.batched_nms(*tensors, threshold)
    if class_ids is None and (most is not None or count <= 4000):
        baselines[STOCK] = lambda: stock(*given).numpy()
    if limit:
        size = round((OPERATIONS_PER_PAIR * count * (count - 1) / 2) ** (1 / 3))
        factor = tf.random.stateless_normal([size, size], [1, 2])
        product = tf.function(lambda a: tf.matmul(a, a))
        baselines[LIMIT] = lambda: product(factor).numpy()
    bars = {name: bar for name, bar in bars.items() if name in baselines}
    return timer.compare(f"nms, {what}", lambda: ours(*given).numpy(), baselines, bars=bars)
