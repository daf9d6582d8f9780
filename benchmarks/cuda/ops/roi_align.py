"""roi_align on a GPU: cases of all kinds of boxes, and the race against torchvision."""

from __future__ import annotations

import numpy as np

from benchmarks.cuda.case import FLOATS, Case
from benchmarks.cuda.device import convert, to_float

EPS = float(np.finfo(np.float32).eps)


def cases(seed: int) -> list[Case]:
    """Every dtype, odd sizes, fixed and adaptive sampling, boxes outside, no boxes at all."""
    generator = np.random.default_rng(seed)
    made = []
    for dtype in FLOATS:
        for channels, size, ratio, aligned in [
            (3, (3, 2), 2, True),
            (8, (7, 7), 2, False),
            (40, (2, 18), 1, True),
            (33, (7, 5), 0, True),
            (16, (1, 1), 0, False),
            (4, (2, 3), 40, True),
        ]:
            features, boxes, indices = _inputs(generator, channels)
            made.append(_case(f"{size}, {channels} channels", dtype, features, boxes, indices, size, ratio, aligned))
        features, boxes, indices = _inputs(generator, 5)
        made.append(_case("no boxes", dtype, features, boxes[:0], indices[:0], (7, 7), 2, True))
        made.append(_case("one pixel", dtype, features[:, :1, :1], boxes, indices, (2, 2), 0, True))
    return made


def _inputs(generator: np.random.Generator, channels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    height, width, count = 11, 14, 20
    features = generator.uniform(-1, 1, (2, height, width, channels)).astype(np.float32)
    corners = generator.uniform(-6, 24, (count, 2))
    sizes = np.exp(generator.uniform(np.log(0.2), np.log(40), (count, 2)))
    boxes = np.concatenate([corners, corners + sizes], 1).astype(np.float32)
    boxes[:8] = [
        [-100, -100, 200, 200],
        [300, 300, 310, 310],  # outside
        [4, 4, 4, 9],  # empty
        [9, 8, 3, 2],  # inverted
        [0, 0, width, height],
        [np.nan, 1, 5, 5],
        [0, 0, np.inf, 5],
        [-1e30, 2, 1e30, 6],
    ]
    return features, boxes, generator.integers(0, 2, count).astype(np.int32)


def _case(what, dtype, features, boxes, indices, size, ratio, aligned) -> Case:
    values = convert(features, dtype)
    shape = (len(boxes), *size, features.shape[3])

    def expected():
        import kseg_ops

        with kseg_ops.use_reference():
            return [kseg_ops.roi_align(to_float(values), boxes, indices, size, 0.7, ratio, aligned).numpy()]

    pixels = features.shape[1] * features.shape[2]
    products = 2 * min((2 * ratio) ** 2 if ratio else np.inf, pixels) + 8
    return Case(
        name=f"roi_align/{dtype}, {what}, sampling_ratio={ratio}, aligned={aligned}",
        launcher="roi_align",
        inputs=[values, boxes, indices],
        outputs=[convert(np.zeros(shape, np.float32), dtype)],
        expected=expected,
        tolerance=[products * EPS],  # features are within -1..1
        numbers=[0.7, ratio, aligned],
    )
