"""RoIAlign and its gradient."""

from __future__ import annotations

import numpy as np

from tests.fuzz.draws import Case, Draw, boxes, extent, floats, integers, same_names, shape


def _regions(rng: np.random.Generator):
    batch, height, width, channels = shape(rng, 3, 20, 20, 40)
    count = extent(rng, 6)
    arrays = {
        "boxes": boxes(rng, (count,), height, width),
        "box_indices": integers(rng, (count,), 0, batch),
    }
    attributes = {
        "output_size": [int(rng.integers(1, 6)), int(rng.integers(1, 6))],
        "spatial_scale": float(np.float32(rng.choice([1.0, 0.25, 1 / 32, 3.7]))),
        "sampling_ratio": int(rng.integers(0, 4)),
        "aligned": bool(rng.integers(2)),
    }
    return (batch, height, width, channels), arrays, attributes


def _forward(rng: np.random.Generator) -> Draw:
    size, arrays, attributes = _regions(rng)
    return Draw({"features": floats(rng, size), **arrays}, attributes)


def _backward(rng: np.random.Generator) -> Draw:
    size, arrays, attributes = _regions(rng)
    gradient = floats(rng, (len(arrays["boxes"]), *attributes["output_size"], size[3]))
    return Draw({"output_gradient": gradient, **arrays, "features_shape": np.array(size, np.int64)}, attributes)


def _backward_numpy(draw: Draw) -> dict:
    arguments = same_names(draw)
    del arguments["output_size"]  # the gradient's own
    arguments["features_shape"] = [int(size) for size in np.ravel(arguments["features_shape"])]
    return arguments


CASES = [
    Case("roi_align", _forward, numpy=same_names),
    Case("roi_align_grad", _backward, numpy=_backward_numpy, words=("features",)),
]
