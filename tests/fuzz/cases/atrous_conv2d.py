"""Dilated convolution."""

from __future__ import annotations

import numpy as np

from tests.fuzz.convolutions import ACTIVATIONS, affine, kernel, map_size, one_of
from tests.fuzz.draws import FLOATS, Case, Draw, extent, floats, same_names


def _draw(rng: np.random.Generator) -> Draw:
    padding = one_of(rng, ("same", "valid"))
    rows, columns, rate = kernel(rng)
    height, width = map_size(rng, (rows, columns), rate, padding)
    deep = rng.random() < 0.03  # more than one block of depth
    channels = int(rng.choice([511, 512, 530])) if deep else max(1, extent(rng, 20))
    batch = extent(rng, 2)
    if deep:
        batch, height, width = 1, min(height, 4), min(width, 4)
    outputs = max(1, extent(rng, 20))
    dtype = FLOATS[rng.integers(3)]
    return Draw(
        {
            "x": floats(rng, (batch, height, width, channels), dtype),
            "filters": floats(rng, (rows, columns, channels, outputs), dtype),
            "scale": affine(rng, outputs),
            "offset": affine(rng, outputs),
        },
        {"rate": rate, "activation": one_of(rng, ACTIVATIONS), "padding": padding},
    )


CASES = [Case("atrous_conv2d", _draw, numpy=same_names)]
