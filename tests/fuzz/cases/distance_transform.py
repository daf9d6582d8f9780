"""The distance transform."""

from __future__ import annotations

import numpy as np

from tests.fuzz.cases.connected_components import draw_masks, numpy_masks
from tests.fuzz.draws import Case, Draw

_SPACINGS = (1.0, 2.0, 0.5, 1 / 3, 0.1, np.pi, 1e-3, 2.0**60, 2.0**-60, 1e17, 1.0 + 2.0**-30)


def _draw(rng: np.random.Generator) -> Draw:
    masks = draw_masks(rng)
    if rng.random() < 0.005:  # sides that do not fit 16 bits
        masks = (rng.random([(1, 2, 33000), (1, 33000, 2)][rng.integers(2)]) < 0.999).astype(np.uint8)
    sampling = rng.choice(_SPACINGS, 2) if rng.random() < 0.7 else np.full(2, rng.choice(_SPACINGS))
    return Draw(
        {"masks": masks, "sampling": sampling},
        {"signed": bool(rng.integers(2)), "return_indices": bool(rng.integers(2))},
    )


def _numpy(draw: Draw) -> dict:
    sampling = tuple(float(spacing) for spacing in np.ravel(draw.arrays["sampling"]))
    return {"masks": numpy_masks(draw.arrays["masks"]), "sampling": sampling, **draw.attributes}


CASES = [Case("distance_transform", _draw, numpy=_numpy)]
