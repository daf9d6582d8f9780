"""RoIAlign and its gradient."""

from __future__ import annotations

import numpy as np

from tests.fuzz.draws import FLOATS, Case, Draw, boxes, extent, floats, integers, same_names, shape

_FLOATS = (*FLOATS, np.float64)


def _regions(rng: np.random.Generator):
    count = min(extent(rng, 6), 17)
    size = [int(rng.integers(1, 6)), int(rng.integers(1, 6))]
    kind = rng.random()
    if kind < 0.0003:  # an output beyond the caches
        batch, height, width, channels = 1, 5, 5, 300
        count, size = 40, [14, 14]
    elif kind < 0.05:  # channels are cut into parts
        batch, height, width, channels = (
            1,
            int(rng.integers(1, 4)),
            int(rng.integers(1, 4)),
            int(rng.integers(250, 800)),
        )
    else:
        batch, height, width, channels = shape(rng, 3, 20, 20, 40)
    if kind > 0.97:
        size[rng.integers(2)] = int(rng.integers(20, 70))
    arrays = {
        "boxes": boxes(rng, (count,), height, width),
        "box_indices": integers(rng, (count,), 0, batch),
    }
    attributes = {
        "output_size": size,
        "spatial_scale": float(np.float32(rng.choice([1.0, 0.25, 1 / 32, 3.7]))),
        "sampling_ratio": int(rng.integers(0, 4)) if rng.random() < 0.998 else 128,
        "aligned": bool(rng.integers(2)),
    }
    return (batch, height, width, channels), arrays, attributes


def _forward(rng: np.random.Generator) -> Draw:
    size, arrays, attributes = _regions(rng)
    return Draw({"features": floats(rng, size, _FLOATS[rng.integers(4)]), **arrays}, attributes)


def _backward(rng: np.random.Generator) -> Draw:
    size, arrays, attributes = _regions(rng)
    pooled = (len(arrays["boxes"]), *attributes["output_size"], size[3])
    gradient = floats(rng, pooled, _FLOATS[rng.integers(4)])
    features_shape = np.array(size, np.int64 if rng.random() < 0.5 else np.int32)
    return Draw({"output_gradient": gradient, **arrays, "features_shape": features_shape}, attributes)


def _backward_numpy(draw: Draw) -> dict:
    arguments = same_names(draw)
    del arguments["output_size"]  # the gradient's own
    arguments["features_shape"] = [int(size) for size in np.ravel(arguments["features_shape"])]
    return arguments


CASES = [
    Case("roi_align", _forward, numpy=same_names),
    Case("roi_align_grad", _backward, numpy=_backward_numpy, sizes=("features_shape",)),
]
