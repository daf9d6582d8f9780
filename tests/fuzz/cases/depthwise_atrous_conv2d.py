"""Depthwise dilated convolution and its gradients."""

from __future__ import annotations

import numpy as np

from tests.fuzz.convolutions import kernel, map_size, one_of
from tests.fuzz.draws import FLOATS, Case, Draw, extent, floats, same_names


def _draw(rng: np.random.Generator, gradient: bool) -> Draw:
    padding = one_of(rng, ("same", "valid"))
    rows, columns, rate = kernel(rng)
    height, width = map_size(rng, (rows, columns), rate, padding)
    # Beyond the channels that one unit of work takes, too.
    channels = int(rng.choice([32, 129, 160])) if rng.random() < 0.05 else extent(rng, 16)
    multiplier = int(rng.choice([1, 1, 1, 2, 3, 5]))
    batch = extent(rng, 2)
    while batch * height * width * channels * multiplier > 8000 and (batch > 1 or multiplier > 1):
        batch, multiplier = (batch + 1) // 2, (multiplier + 1) // 2
    dtype = FLOATS[rng.integers(3)]
    arrays = {
        "x": floats(rng, (batch, height, width, channels), dtype),
        "filters": floats(rng, (rows, columns, channels, multiplier), dtype),
    }
    if gradient:
        lost = [
            (taps - 1) * step if padding == "valid" else 0 for taps, step in zip((rows, columns), rate, strict=True)
        ]
        size = (batch, max(0, height - lost[0]), max(0, width - lost[1]), channels * multiplier)
        arrays["output_gradient"] = floats(rng, size, dtype)
    return Draw(arrays, {"rate": rate, "padding": padding})


CASES = [
    Case("depthwise_atrous_conv2d", lambda rng: _draw(rng, False), numpy=same_names),
    # TensorFlow's own words where static shapes of the output and its gradient differ.
    *(
        Case(f"depthwise_atrous_conv2d_{of}_grad", lambda rng: _draw(rng, True), numpy=same_names)
        for of in ("input", "filter")
    ),
]
