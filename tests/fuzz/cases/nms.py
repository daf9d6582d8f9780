"""Suppression of the boxes of one image."""

from __future__ import annotations

import numpy as np

from tests.fuzz.draws import Case, Draw, boxes, extent, floats, integers, same_names


def box_set(rng: np.random.Generator, count: tuple[int, ...]) -> np.ndarray:
    """Boxes that overlap much, little, in clusters, or are as `boxes` makes them."""
    kind = rng.random()
    if kind < 0.3:
        return boxes(rng, count, 100, 100)
    side = rng.choice([10.0, 300.0, 1e6])
    centre = rng.uniform(0, side, (*count, 2))
    if kind < 0.5:
        centre = np.round(centre / side * 3) * side / 3 + rng.normal(0, 1, centre.shape)
    half = rng.uniform(0.5, rng.choice([2.0, 20.0]), (*count, 2))
    corners = np.concatenate([centre - half, centre + half], -1)
    return (np.round(corners) if rng.random() < 0.3 else corners).astype(np.float32)


def score_set(rng: np.random.Generator, count: tuple[int, ...]) -> np.ndarray:
    """Scores with ties, or hard ones."""
    kind = rng.random()
    if kind < 0.4:
        return rng.random(count).astype(np.float32)
    if kind < 0.7:
        return (rng.integers(0, 4, count) / 4).astype(np.float32)
    return floats(rng, count, np.float32, 1.0)


def class_set(rng: np.random.Generator, count: tuple[int, ...]) -> np.ndarray:
    """Few classes, many, or any numbers at all; some rows are padding."""
    kind = rng.random()
    if kind < 0.1:
        return rng.integers(-(2**31), 2**31, count).astype(np.int32)
    return integers(rng, count, -1 if kind < 0.5 else 0, int(rng.choice([1, 3, 100])), np.int32, hard=0.1)


def _draw(rng: np.random.Generator) -> Draw:
    kind = rng.random()
    count = int(rng.integers(1000, 3000)) if kind < 0.005 else extent(rng, 60 if kind < 0.9 else 300)
    given = rng.random() < 0.5
    arrays = {
        "boxes": box_set(rng, (count,)),
        "scores": score_set(rng, (count,)),
        "class_ids": class_set(rng, (count,)) if given else np.zeros(0, np.int32),
    }
    attributes = {
        "iou_threshold": float(np.float32(rng.choice([0.0, 0.1, 0.5, 0.9, 1.0]))),
        "score_threshold": float(np.float32(rng.choice([-np.inf, -1.0, 0.0, 1e-40, 0.3]))),
        "max_output_size": int(rng.choice([-1, 0, 1, 10, 1000])),
    }
    return Draw(arrays, attributes, absent=() if given else ("class_ids",))


CASES = [Case("nms", _draw, numpy=same_names)]
