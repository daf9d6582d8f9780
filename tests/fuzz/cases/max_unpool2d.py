"""Max unpooling and its gradient."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from tests.fuzz.draws import Case, Draw, floats, integers, shape

_TYPES = (np.float32, np.float16, ml_dtypes.bfloat16, np.float64)


def _values(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    dtype = _TYPES[rng.integers(4)]
    return floats(rng, size, dtype)


def _sizes(rng: np.random.Generator) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
    """Of the values and of the output."""
    kind = rng.random()
    size = shape(rng, 3, 10, 10, 40)
    if kind < 0.01:  # several bands
        return (1, *size[1:3], 3), (170, 160)
    scale = rng.integers(1, 4, 2)
    return size, (int(size[1] * scale[0] + rng.integers(2)), int(size[2] * scale[1] + rng.integers(2)))


def _places(rng: np.random.Generator, size: tuple[int, ...], pixels: int) -> np.ndarray:
    if pixels == 0:
        return np.zeros(size, np.int32)
    if rng.random() < 0.3:  # in order, as pooling gives them
        return np.sort(rng.integers(0, pixels, size), axis=1).astype(np.int32)
    return integers(rng, size, 0, pixels if rng.random() < 0.7 else min(pixels, 3))


def _forward(rng: np.random.Generator) -> Draw:
    size, output = _sizes(rng)
    return Draw(
        {
            "y": _values(rng, size),
            "indices": _places(rng, size, output[0] * output[1]),
            "output_size": np.array(output, np.int32),
        }
    )


def _backward(rng: np.random.Generator) -> Draw:
    size, output = _sizes(rng)
    return Draw(
        {
            "x_gradient": _values(rng, (size[0], *output, size[3])),
            "indices": _places(rng, size, output[0] * output[1]),
        }
    )


def _numpy(draw: Draw) -> dict:
    arguments = dict(draw.arrays)
    if "output_size" in arguments:
        arguments["output_size"] = tuple(int(size) for size in np.ravel(arguments["output_size"]))
    return arguments


CASES = [
    Case("max_unpool2d", _forward, numpy=_numpy),
    Case("max_unpool2d_grad", _backward, numpy=_numpy),
]
