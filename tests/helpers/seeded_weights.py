"""Weights drawn by the names of a published network's tensors, the same wherever they are drawn."""

from __future__ import annotations

import zlib

import numpy as np


def uniform(seed: tuple, shape, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Numbers between two bounds, the same under every version of NumPy.

    NumPy keeps the bits that its generators give, not the distributions that it makes of them.
    """
    bits = np.random.PCG64(np.random.SeedSequence(seed)).random_raw(int(np.prod(shape)))
    return low + (high - low) * (bits >> np.uint64(11)).astype(np.float64).reshape(shape) * 2.0**-53


def seeded_tensor(name: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """One float32 tensor.

    Kernels keep the variance of what ReLU passes; normalisations have factors around 1, and offsets, means and
    variances far enough from 0 and 1 that one of them in another's place shows.
    """
    if len(shape) > 1:
        # The variance of a uniform distribution is a twelfth of its width squared; 2 / fan-in is wanted.
        high = np.sqrt(6 / np.prod(shape[1:]))
        low = -high
    elif name.endswith("running_var"):
        low, high = 0.5, 2.0
    elif name.endswith("weight"):
        low, high = 0.6, 1.4
    else:
        low, high = -0.5, 0.5
    return uniform((seed, zlib.crc32(name.encode())), shape, low, high).astype(np.float32)


def seeded_state(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    """Tensors of the given names and shapes."""
    return {name: seeded_tensor(name, tuple(shape), seed) for name, shape in shapes.items()}


def seeded_images(seed: int, height: int, width: int, batch: int = 1, channels: int = 3) -> np.ndarray:
    """Images `(B, H, W, C)` around 0 with structure at several scales, float32."""
    images = uniform((seed, 0), (batch, height, width, channels), -0.8, 0.8)
    y, x = np.mgrid[:height, :width]
    for number, scale in enumerate((3, 8, 21, 60), start=1):
        phase = uniform((seed, number), (2, batch, 1, 1, channels), 0, 2 * np.pi)
        images += np.sin(y[..., None] / scale + phase[0]) * np.sin(x[..., None] / scale + phase[1])
    return images.astype(np.float32)
