"""Suppression of the boxes of a batch of images."""

from __future__ import annotations

import numpy as np

from tests.fuzz.cases.nms import box_set, class_set, score_set
from tests.fuzz.draws import Case, Draw, extent, same_names

_METHODS = ("hard", "linear", "gaussian", "matrix_linear", "matrix_gaussian")


def _draw(rng: np.random.Generator) -> Draw:
    kind = rng.random()
    images = int(rng.integers(1, 4)) if kind < 0.9 else extent(rng, 8)
    rows = int(rng.integers(300, 1500)) if kind < 0.005 else extent(rng, 30)
    classes = 1 if kind < 0.4 else int(rng.integers(1, 6))
    by_class = rng.random() < 0.5
    scores = score_set(rng, (images, rows, classes))
    boxes = box_set(rng, (images, rows, classes if by_class else 1))
    given = classes == 1 and rng.random() < 0.5
    class_ids = class_set(rng, (images, rows)) if given else np.zeros((0, 0), np.int32)
    return Draw(
        {
            "boxes": boxes[:, :, 0] if boxes.shape[2] == 1 and rng.random() < 0.5 else boxes,
            "scores": scores[:, :, 0] if classes == 1 and rng.random() < 0.5 else scores,
            "class_ids": class_ids,
        },
        {
            "iou_threshold": float(np.float32(rng.choice([0.0, 0.1, 0.5, 0.9, 1.0]))),
            "score_threshold": float(np.float32(rng.choice([-np.inf, -1.0, 0.0, 1e-40, 0.3]))),
            "max_output_size": int(rng.choice([1, 5, 20, 300])),
            "max_per_class": int(rng.choice([-1, 1, 3, 1000])),
            "class_agnostic": bool(rng.integers(2)),
            "sigma": float(np.float32(rng.choice([1e-6, 0.5, 1e6]))),
            "method": str(rng.choice(_METHODS)),
        },
        absent=() if given else ("class_ids",),
    )


CASES = [Case("batched_nms", _draw, numpy=same_names)]
