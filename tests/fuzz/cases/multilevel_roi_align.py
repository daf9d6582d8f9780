"""RoIAlign over a pyramid and its gradient."""

from __future__ import annotations

import numpy as np

from tests.fuzz.draws import FLOATS, Case, Draw, boxes, extent, floats, same_names

_FLOATS = (*FLOATS, np.float64)


def _pyramid(rng: np.random.Generator):
    levels = int(rng.integers(1, 5))
    batch, count, channels = int(rng.integers(1, 4)), extent(rng, 5), extent(rng, 20)
    sizes = [(batch, max(1, extent(rng, 12)), max(1, extent(rng, 12)), channels) for _ in range(levels)]
    if rng.random() < 0.03:
        at = int(rng.integers(levels))
        sizes[at] = (batch, 0, *sizes[at][2:])
    span = 10.0 ** rng.integers(0, 4)
    areas = np.sort(rng.uniform(0, span * span, levels - 1).astype(np.float32))
    if rng.random() < 0.05 and levels > 1:
        areas[-1] = np.inf
    attributes = {
        "output_size": [int(rng.integers(1, 6)), int(rng.integers(1, 6))],
        "spatial_scales": [float(np.float32(rng.choice([1.0, 0.5, 0.25, 1 / 32, 3.7]))) for _ in range(levels)],
        "level_areas": [float(area) for area in areas],
        "sampling_ratio": int(rng.integers(0, 4)),
        "aligned": bool(rng.integers(2)),
    }
    return sizes, boxes(rng, (batch, count), span, span), attributes


def _forward(rng: np.random.Generator) -> Draw:
    sizes, corners, attributes = _pyramid(rng)
    dtype = _FLOATS[rng.integers(4)]
    return Draw({"features": [floats(rng, size, dtype) for size in sizes], "boxes": corners}, attributes)


def _backward(rng: np.random.Generator) -> Draw:
    sizes, corners, attributes = _pyramid(rng)
    pooled = (*corners.shape[:2], *attributes["output_size"], sizes[0][3])
    dtype = np.int64 if rng.random() < 0.5 else np.int32
    return Draw(
        {
            "output_gradient": floats(rng, pooled, _FLOATS[rng.integers(4)]),
            "boxes": corners,
            "features_shapes": [np.array(size, dtype) for size in sizes],
        },
        attributes,
    )


def _backward_numpy(draw: Draw) -> dict:
    arguments = same_names(draw)
    del arguments["output_size"]  # the gradient's own
    arguments["features_shapes"] = [[int(size) for size in np.ravel(one)] for one in arguments["features_shapes"]]
    return arguments


CASES = [
    Case("multilevel_roi_align", _forward, numpy=same_names),
    Case("multilevel_roi_align_grad", _backward, numpy=_backward_numpy, sizes=("features_shapes",)),
]
