"""Sizes that the cases of the dilated convolutions share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.fuzz.draws import extent, floats

ACTIVATIONS = ("linear", "relu", "relu6", "hard_sigmoid", "hard_silu", "")


def one_of(rng: np.random.Generator, words: Sequence[str]) -> str:
    """One of the words."""
    return words[rng.integers(len(words))]


def kernel(rng: np.random.Generator) -> tuple[int, int, list[int]]:
    """Rows and columns of a kernel, often 3 x 3, and its rates: small, about as large as the map, or the largest."""
    rows, columns = (3, 3) if rng.random() < 0.4 else (int(rng.integers(1, 6)), int(rng.integers(1, 6)))
    if rng.random() < 0.02:
        rows, columns = (1, 64) if rng.random() < 0.5 else (64, 1)
    rates = [int(rng.choice([1, 1, 2, 2, 3, 5, 9, 17])) for _ in range(2)]
    if rng.random() < 0.05:
        rates[rng.integers(2)] = 65536
    return rows, columns, rates


def map_size(rng: np.random.Generator, taps: Sequence[int], rates: Sequence[int], padding: str) -> list[int]:
    """Height and width, with padding "valid" mostly large enough for the kernel, and seldom too large to be quick."""
    sizes = [extent(rng, 12), extent(rng, 12)]
    if rng.random() < 0.1:
        sizes[rng.integers(2)] = int(rng.integers(20, 100))
    if padding == "valid" and rng.random() < 0.95:
        for axis in (0, 1):
            reach = (taps[axis] - 1) * rates[axis]
            if reach <= 100:
                sizes[axis] += reach
            else:
                rates[axis] = 1
                sizes[axis] += taps[axis] - 1
    while sizes[0] * sizes[1] > 500 and padding == "same":
        sizes[int(np.argmax(sizes))] //= 2
    return sizes


def affine(rng: np.random.Generator, channels: int) -> np.ndarray:
    """A scale or offset, seldom of no elements, which stands for none."""
    return floats(rng, (0 if rng.random() < 0.05 else channels,), np.float32)
