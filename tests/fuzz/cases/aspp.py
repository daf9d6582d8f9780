"""Atrous spatial pyramid pooling."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.fuzz.convolutions import ACTIVATIONS, kernel, map_size, one_of
from tests.fuzz.draws import FLOATS, Case, Draw, extent, floats


def _draw(rng: np.random.Generator) -> Draw:
    height, width = map_size(rng, (1, 1), [1, 1], "same")
    batch, channels = extent(rng, 2), max(1, extent(rng, 10))
    if rng.random() < 0.02:  # more than one block of depth
        batch, channels, height, width = 1, 530, min(height, 3), min(width, 3)
    dtype = FLOATS[rng.integers(3)]
    arrays: dict[str, Any] = {"x": floats(rng, (batch, height, width, channels), dtype)}
    lists = ("branch_filters", "branch_scales", "branch_offsets", "depthwise", "depthwise_scales", "depthwise_offsets")
    lists += ("pooling_filters", "pooling_scales", "pooling_offsets")
    arrays.update({name: [] for name in lists})
    rates, separable, depthwise_activations, activations, total = [], [], [], [], 0

    def add(prefix: str, shape: tuple[int, ...]) -> None:
        arrays[f"{prefix}_filters"].append(floats(rng, shape, dtype))
        arrays[f"{prefix}_scales"].append(floats(rng, shape[3:], np.float32))
        arrays[f"{prefix}_offsets"].append(floats(rng, shape[3:], np.float32))

    for _ in range(rng.integers(1, 4)):
        rows, columns, rate = kernel(rng)
        outputs = max(1, extent(rng, 10))
        total += outputs
        rates += rate
        activations.append(one_of(rng, ACTIVATIONS))
        separable.append(bool(rng.integers(2)))
        if separable[-1]:
            arrays["depthwise"].append(floats(rng, (rows, columns, channels, 1), dtype))
            arrays["depthwise_scales"].append(floats(rng, (channels,), np.float32))
            arrays["depthwise_offsets"].append(floats(rng, (channels,), np.float32))
            depthwise_activations.append(one_of(rng, ACTIVATIONS))
            rows = columns = 1
        add("branch", (rows, columns, channels, outputs))
    if rng.integers(2):
        outputs = max(1, extent(rng, 10))
        total += outputs
        add("pooling", (1, 1, channels, outputs))
    outputs = max(1, extent(rng, 20))
    arrays["projection"] = floats(rng, (1, 1, total, outputs), dtype)
    arrays["projection_scale"] = floats(rng, (outputs,), np.float32)
    arrays["projection_offset"] = floats(rng, (outputs,), np.float32)
    return Draw(
        arrays,
        {
            "rates": rates,
            "separable": separable,
            "activations": activations,
            "depthwise_activations": depthwise_activations,
            "pooling_activation": one_of(rng, ACTIVATIONS),
            "projection_activation": one_of(rng, ACTIVATIONS),
        },
    )


def _numpy(draw: Draw) -> dict[str, Any]:
    arrays, attributes = draw.arrays, draw.attributes

    def convolution(prefix: str, i: int, activation: str, rate: tuple[int, int], depthwise: Any) -> tuple:
        filters, scales, offsets = (arrays[f"{prefix}_{name}"] for name in ("filters", "scales", "offsets"))
        return (filters[i], scales[i], offsets[i], activation, rate, depthwise)

    branches, used = [], 0
    for i, is_separable in enumerate(attributes["separable"]):
        depthwise = None
        if is_separable:
            parts = (arrays[name][used] for name in ("depthwise", "depthwise_scales", "depthwise_offsets"))
            depthwise = (*parts, attributes["depthwise_activations"][used])
            used += 1
        rate = (attributes["rates"][2 * i], attributes["rates"][2 * i + 1])
        branches.append(convolution("branch", i, attributes["activations"][i], rate, depthwise))
    pooling = None
    if arrays["pooling_filters"]:
        pooling = convolution("pooling", 0, attributes["pooling_activation"], (1, 1), None)
    projection = (arrays["projection"], arrays["projection_scale"], arrays["projection_offset"])
    return {
        "x": arrays["x"],
        "branches": branches,
        "projection": (*projection, attributes["projection_activation"], (1, 1), None),
        "pooling": pooling,
    }


CASES = [Case("aspp", _draw, numpy=_numpy, words=("branches", "pooling"))]
