"""COCO's run-length codecs, against pycocotools (which has one thread)."""

from __future__ import annotations

import numpy as np

from benchmarks.harness import Row, Timer
from kseg_ops import rle

try:
    from pycocotools import mask as coco
except ImportError:
    coco = None

HEIGHT, WIDTH, COUNT = 800, 1216, 100
PEER = "pycocotools"
# Merging and single polygons are for annotations read one by one: no promise.
BARS = {"encode": 2.0, "decode": 2.0, "iou": 2.0, "iou_groups": 2.0}


def blobs(count: int, seed: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> tuple[list, list[list[float]]]:
    """Objects with wavy outlines, radii of 8 to 250 pixels: RLEs, and the polygons that they are made from."""
    random = np.random.default_rng(seed)
    polygons = []
    for _ in range(count):
        angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        radius = np.exp(random.uniform(np.log(8), np.log(250)))
        waves = (
            1 + 0.2 * np.sin(random.integers(2, 7) * angles + random.uniform(0, 6)) + random.uniform(-0.05, 0.05, 60)
        )
        centre = random.uniform(0, 1, 2) * size[::-1]
        points = centre + (radius * waves)[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
        polygons.append(np.clip(points, 0, size[::-1]).round(2).ravel().tolist())
    return [rle.from_polygons([polygon], size) for polygon in polygons], polygons


def run(timer: Timer) -> list[Row]:
    """Times every case; there is nothing to compare with where pycocotools is not installed."""
    if coco is None:
        return []
    a, polygons = blobs(COUNT, 0)
    b, _ = blobs(COUNT, 1)
    masks = rle.decode(a)
    fortran = np.asfortranarray(masks.transpose(1, 2, 0))  # each side gets its own layout
    groups_a, groups_b, groups_crowd = [], [], []
    small, _ = blobs(2000, 2, (480, 640))
    for index in range(2000):  # as an evaluation has them: 20,000 instances, 10 per image
        start = index * 10 % 1990
        groups_a.append(small[start : start + 10])
        groups_b.append(small[start + 3 : start + 10])
        groups_crowd.append([False] * 7)

    def groups():
        for one, other, crowd in zip(groups_a, groups_b, groups_crowd, strict=True):
            coco.iou(one, other, crowd)

    no_crowd = [False] * COUNT
    size = f"{COUNT} masks {HEIGHT}x{WIDTH}"
    cases = [
        ("encode", size, lambda: rle.encode(masks), lambda: coco.encode(fortran)),
        ("decode", size, lambda: rle.decode(a), lambda: coco.decode(a)),
        ("iou", f"{COUNT} x {size}", lambda: rle.iou(a, b), lambda: coco.iou(a, b, no_crowd)),
        ("iou_groups", "2000 groups of 10 x 7, 480x640", lambda: rle.iou_groups(groups_a, groups_b), groups),
        ("merge", size, lambda: rle.merge(a), lambda: coco.merge(a)),
        (
            "from_polygons",
            f"{COUNT} polygons of 60 points",
            lambda: [rle.from_polygons([polygon], (HEIGHT, WIDTH)) for polygon in polygons],
            lambda: [coco.merge(coco.frPyObjects([polygon], HEIGHT, WIDTH)) for polygon in polygons],
        ),
    ]
    return [
        timer.compare(f"rle.{name}, {what}", ours, {PEER: theirs}, bars={PEER: BARS[name]} if name in BARS else None)
        for name, what, ours, theirs in cases
    ]
