"""Atrous separable convolution."""

from __future__ import annotations

import numpy as np

from tests.fuzz.convolutions import ACTIVATIONS, affine, kernel, map_size, one_of
from tests.fuzz.draws import FLOATS, Case, Draw, extent, floats, same_names


def _draw(rng: np.random.Generator) -> Draw:
    padding = one_of(rng, ("same", "valid"))
    rows, columns, rate = kernel(rng)
    height, width = map_size(rng, (rows, columns), rate, padding)
    channels, multiplier = max(1, extent(rng, 16)), int(rng.choice([1, 1, 1, 2, 3]))
    batch, outputs = extent(rng, 2), extent(rng, 20)
    if rng.random() < 0.03:  # more than one block of depth
        channels, batch, height, width = int(rng.choice([513, 544])), 1, min(height, 4), min(width, 4)
    dtype = FLOATS[rng.integers(3)]
    middle = channels * multiplier
    return Draw(
        {
            "x": floats(rng, (batch, height, width, channels), dtype),
            "depthwise": floats(rng, (rows, columns, channels, multiplier), dtype),
            "pointwise": floats(rng, (1, 1, middle, outputs), dtype),
            "depthwise_scale": affine(rng, middle),
            "depthwise_offset": affine(rng, middle),
            "scale": affine(rng, outputs),
            "offset": affine(rng, outputs),
        },
        {
            "rate": rate,
            "padding": padding,
            "depthwise_activation": one_of(rng, ACTIVATIONS),
            "activation": one_of(rng, ACTIVATIONS),
        },
    )


CASES = [Case("atrous_separable_conv2d", _draw, numpy=same_names)]
