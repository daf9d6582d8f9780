"""Suppression of masks."""

from __future__ import annotations

import numpy as np

from tests.fuzz.cases.mask_iou import as_input, bytes_for_bool, mask_boxes, mask_size, masks
from tests.fuzz.cases.nms import class_set, score_set
from tests.fuzz.draws import Case, Draw, extent


def _draw(rng: np.random.Generator) -> Draw:
    size = mask_size(rng)
    images = int(rng.integers(1, 3)) if rng.random() < 0.95 else extent(rng, 5)
    # More than a block of them is suppressed in turns.
    count = extent(rng, 12) if size[0] * size[1] < 1000 else int(rng.integers(1, 5))
    packed, dirty = bool(rng.integers(2)), bool(rng.integers(2))
    boxes = mask_boxes(rng, (images, count), size)
    return Draw(
        {
            "masks": as_input(rng, masks(rng, (images, count), size), packed, dirty),
            "scores": score_set(rng, (images, count)),
            "class_ids": class_set(rng, (images, count)),
            "boxes": boxes,
        },
        {
            "max_output_size": int(rng.choice([-1, 0, 1, 5, 100])),
            "kind": str(rng.choice(["hard", "soft", "matrix"])),
            "iou_threshold": float(np.float32(rng.choice([-1.0, 0.0, 0.1, 0.5, 1.0, np.inf]))),
            "score_threshold": float(np.float32(rng.choice([-np.inf, 0.0, 1e-40, 0.3]))),
            "has_score_threshold": bool(rng.integers(2)),
            "sigma": float(np.float32(rng.choice([1e-5, 0.5, 1e5]))),
            "width": size[1] if packed else -1,
        },
        () if boxes.size else ("boxes",),
    )


def _numpy(draw: Draw) -> dict:
    arguments = bytes_for_bool(draw)
    if not arguments.pop("has_score_threshold"):
        arguments["score_threshold"] = None
    return arguments


CASES = [Case("mask_nms", _draw, numpy=_numpy)]
