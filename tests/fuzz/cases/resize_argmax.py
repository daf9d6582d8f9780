"""The argmax of resized logits."""

from __future__ import annotations

import numpy as np

from tests.fuzz.draws import FLOATS, Case, Draw, extent, floats, shape

_FLOATS = (*FLOATS, np.float64)


def _draw(rng: np.random.Generator) -> Draw:
    kind = rng.random()
    source = shape(rng, 2, 12, 12, 40)
    if kind < 0.002:  # rows in several strips
        source = (1, 2, int(rng.integers(9, 40)), int(rng.integers(2000, 5000)))
    elif kind < 0.1:  # classes that are pruned
        source = (1, *source[1:3], int(rng.integers(60, 160)))
    size = np.array([max(1, extent(rng, 40)), max(1, extent(rng, 40))], np.int32)
    logits = floats(rng, source, _FLOATS[rng.integers(4)])
    return Draw({"logits": logits, "size": size}, {"align_corners": bool(rng.integers(2))})


def _numpy(draw: Draw) -> dict:
    arguments = {**draw.arrays, **draw.attributes}
    arguments["size"] = tuple(int(extent) for extent in np.ravel(arguments["size"]))
    return arguments


CASES = [Case("resize_argmax", _draw, numpy=_numpy, sizes=("size",))]
