"""Max pooling with indices and its gradient."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from tests.fuzz.draws import Case, Draw, floats, integers, same_names, shape

_TYPES = (np.float32, np.float16, ml_dtypes.bfloat16, np.float64)


def _outputs(size: int, pool: int, stride: int, padding: str) -> int:
    if padding == "same":
        return -(-size // stride)
    return 0 if size < pool else (size - pool) // stride + 1


def _windows(rng: np.random.Generator, height: int, width: int) -> dict:
    def length(size: int) -> int:
        if rng.random() < 0.03:
            return int(rng.choice([size + 1, 100, 2**20]))
        return int(rng.integers(1, max(2, min(5, size + 1))))

    return {
        "pool_size": [length(height), length(width)],
        "strides": [length(height), length(width)],
        "padding": str(rng.choice(["valid", "same"])),
    }


def _values(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    dtype = _TYPES[rng.integers(4)]
    values = floats(rng, size, dtype)
    return np.round(values) if rng.random() < 0.4 else values  # many ties


def _forward(rng: np.random.Generator) -> Draw:
    size = shape(rng, 3, 20, 20, 40)
    return Draw({"x": _values(rng, size)}, _windows(rng, *size[1:3]))


def _backward(rng: np.random.Generator) -> Draw:
    batch, height, width, channels = shape(rng, 3, 20, 20, 40)
    attributes = _windows(rng, height, width)
    axes = zip((height, width), attributes["pool_size"], attributes["strides"], strict=True)
    rows, columns = (_outputs(*axis, attributes["padding"]) for axis in axes)
    pooled = (batch, rows, columns, channels)
    if rng.random() < 0.5:  # the first place of each window rather than any
        step_y, step_x = attributes["strides"]
        first = np.arange(rows)[:, None] * step_y * width + np.arange(columns) * step_x
        indices = np.broadcast_to(first[..., None], pooled).astype(np.int32)
    else:
        indices = integers(rng, pooled, 0, height * width, hard=0.1)
    return Draw(
        {
            "y_gradient": _values(rng, pooled),
            "indices": indices,
            "x_shape": np.array([batch, height, width, channels], rng.choice([np.int32, np.int64])),
        },
        attributes,
    )


def _numpy(draw: Draw) -> dict:
    arguments = same_names(draw)
    for name in ("pool_size", "strides"):
        arguments[name] = tuple(arguments[name])
    if "x_shape" in arguments:
        arguments["x_shape"] = [int(size) for size in np.ravel(arguments["x_shape"])]
    return arguments


CASES = [
    Case("max_pool_with_indices", _forward, numpy=_numpy),
    Case("max_pool_with_indices_grad", _backward, numpy=_numpy),
]
