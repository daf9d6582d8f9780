"""Boxes and slow, obvious forms of suppression that the tests of nms and batched_nms share."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

import kseg_ops
from kseg_ops import _library

METHODS = ("hard", "linear", "gaussian", "matrix")
# All combinations of a method with a kernel that differ.
KINDS = (
    ("hard", "gaussian"),
    ("linear", "gaussian"),
    ("gaussian", "gaussian"),
    ("matrix", "gaussian"),
    ("matrix", "linear"),
)


def with_native(function):
    """The operator by its compiled op."""

    def call(*args, **kwargs):
        if _library.native_op(function.__name__) is None:
            pytest.skip("the compiled library is off")
        return function(*args, **kwargs)

    return call


def with_reference(function):
    """The operator in stock TensorFlow."""

    def call(*args, **kwargs):
        with kseg_ops.use_reference():
            return function(*args, **kwargs)

    return call


def random_boxes(generator: np.random.Generator, *shape: int, grid: float = 0) -> np.ndarray:
    """Boxes that overlap a good deal, some of them inverted; with `grid`, corners are its multiples: IoUs repeat."""
    corners = generator.uniform(-5, 50, (*shape, 2))
    boxes = np.concatenate([corners, corners + generator.uniform(-1, 25, (*shape, 2))], -1)
    return (np.round(boxes / grid) * grid if grid else boxes).astype(np.float32)


def hostile_boxes() -> np.ndarray:
    """Boxes that are no boxes, or hardly, each twice, and two plain ones: `[N, 4]`."""
    inf, nan, big, tiny = np.inf, np.nan, 3e38, 1e-40
    rows = [
        [0, 0, 10, 10],
        [1, 0, 11, 10],
        [5, 5, 5, 9],
        [5, 5, 9, 5],
        [9, 9, 1, 1],
        [9, 1, 1, 9],
        [nan, 0, 10, 10],
        [0, 0, 10, nan],
        [nan] * 4,
        [-inf, -inf, inf, inf],
        [0, 0, inf, 10],
        [inf, 0, inf, 10],
        [-big, -big, big, big],
        [0, 0, big, 1],
        [0, 0, 1e19, 1e19],
        [0, 0, 1e18, 1e18],
        [0, 0, tiny, tiny],
        [tiny, tiny, 10, 10],
        [-0.0, -0.0, 10, 10],
        [0, 0, 1e-20, 1e-20],
        [0, 0, 1e-5, 1e-5],
        [1e6, 1e6, 1e6 + 0.0625, 1e6 + 0.0625],
    ]
    return np.array(rows + rows, np.float32)


def hostile_scores(count: int) -> np.ndarray:
    """Scores with NaN, infinities, both zeros, subnormal numbers and ties."""
    special = [0.5, np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-40, 1.2e-38, 3e38, -3e38, 0.5, 0.25]
    return np.resize(np.array(special, np.float32), count)


def scalar_iou(a: np.ndarray, b: np.ndarray) -> np.float32:
    """Of two ordinary boxes, each step in float32."""
    one = np.float32
    width = max(min(a[2], b[2]) - max(a[0], b[0]), one(0))
    height = max(min(a[3], b[3]) - max(a[1], b[1]), one(0))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) if box[2] > box[0] and box[3] > box[1] else None for box in (a, b)]
    if None in areas or width * height == 0:
        return one(0)
    return width * height / (areas[0] + areas[1] - width * height)


def scalar_nms(boxes, scores, threshold, class_ids=None) -> list[int]:
    """The greedy rule, box by box."""
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        rivals = [j for j in kept if class_ids is None or class_ids[i] == class_ids[j]]
        if all(not scalar_iou(boxes[j], boxes[i]) > np.float32(threshold) for j in rivals):
            kept.append(i)
    return kept


def scalar_soft(boxes, scores, classes, most, decay, threshold=0.0) -> list[tuple[int, float]]:
    """Soft-NMS of one image in float64: pairs of candidate and final score. `decay(iou)` is the factor."""
    scores = [float(score) for score in scores]
    left = [i for i in range(len(scores)) if scores[i] > threshold]
    found = []
    while left and len(found) < most:
        best = max(left, key=lambda i: (scores[i], -i))
        left.remove(best)
        found.append((best, scores[best]))
        for i in left:
            if classes[i] == classes[best]:
                scores[i] *= decay(float(scalar_iou(boxes[best], boxes[i])))
        left = [i for i in left if scores[i] > threshold]
    return found


def scalar_matrix(boxes, scores, classes, most, f, threshold=0.0) -> list[tuple[int, float]]:
    """Matrix NMS of one image in float64, from the formula."""
    order = sorted((i for i in range(len(scores)) if scores[i] > threshold), key=lambda i: (-scores[i], i))
    final = {}
    covered = {}
    for rank, j in enumerate(order):
        better = [i for i in order[:rank] if classes[i] == classes[j]]
        overlap = {i: float(scalar_iou(boxes[i], boxes[j])) for i in better}
        covered[j] = max(overlap.values(), default=0.0)
        quotients = [f(overlap[i]) / f(covered[i]) for i in better if f(covered[i]) > 0]
        final[j] = float(scores[j]) * min([1.0, *quotients])
    ranked = sorted((j for j in order if final[j] > threshold), key=lambda j: (-final[j], j))
    return [(j, final[j]) for j in ranked[:most]]


def gaussian(sigma: float):
    return lambda overlap: math.exp(-(overlap**2) / sigma)


def linear_above(threshold: float):
    return lambda overlap: 1 - overlap if overlap > threshold else 1.0


def limited(candidates: list[int], classes, most_per_class: int, most: int) -> list[int]:
    """The first ones, and of each class so many at most."""
    met: Counter = Counter()
    kept = []
    for i in candidates:
        met[classes[i]] += 1
        if met[classes[i]] <= most_per_class and len(kept) < most:
            kept.append(i)
    return kept


def assert_same(found, expected):
    """Every field of two results is equal to the bit."""
    for name, ours, theirs in zip(found._fields, found, expected, strict=True):
        ours, theirs = np.asarray(ours), np.asarray(theirs)
        assert ours.dtype == theirs.dtype, name
        np.testing.assert_array_equal(ours, theirs, err_msg=name)
        assert ours.tobytes() == theirs.tobytes(), name
