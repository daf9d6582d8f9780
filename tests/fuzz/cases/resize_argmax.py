"""The argmax of resized logits."""

from __future__ import annotations

import numpy as np

from tests.fuzz.draws import Case, Draw, extent, floats, shape


def _draw(rng: np.random.Generator) -> Draw:
    size = np.array([max(1, extent(rng, 40)), max(1, extent(rng, 40))], np.int32)
    return Draw(
        {"logits": floats(rng, shape(rng, 2, 12, 12, 40)), "size": size}, {"align_corners": bool(rng.integers(2))}
    )


def _numpy(draw: Draw) -> dict:
    arguments = {**draw.arrays, **draw.attributes}
    arguments["size"] = tuple(int(extent) for extent in np.ravel(arguments["size"]))
    return arguments


CASES = [Case("resize_argmax", _draw, numpy=_numpy)]
