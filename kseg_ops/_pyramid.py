"""Feature pyramids: the names of their levels, and which box belongs on which of them. Works without TensorFlow."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Mapping

import numpy as np

from kseg_ops._checks import as_int

MAX_LEVEL = 30
MAX_CANONICAL_SIZE = 1 << 20


def as_pyramid(features) -> dict[int, object]:
    """`{"P3": ..., "P2": ...}` as `{2: ..., 3: ...}`, finest level first."""
    if not isinstance(features, Mapping):
        raise TypeError(
            f'features must be a dict from level to feature map, {{"P2": ..., "P3": ...}}, got '
            f"{type(features).__name__}"
        )
    if not features:
        raise ValueError("features must have at least one level, got an empty dict")
    levels = {}
    for name, value in features.items():
        number = re.fullmatch("P(0|[1-9][0-9]?)", name) if isinstance(name, str) else None
        if number is None or int(number[1]) > MAX_LEVEL:
            raise ValueError(f'features must have keys "P0" to "P{MAX_LEVEL}" (level n has stride 2**n), got {name!r}')
        levels[int(number[1])] = value
    return dict(sorted(levels.items()))


def as_canonical_size(value) -> float:
    """multilevel_roi_align's `canonical_size`, rounded to float32."""
    if isinstance(value, (bool, np.bool_, str, bytes)):
        raise TypeError(f"canonical_size must be a number of pixels, got {value!r} of type {type(value).__name__}")
    try:
        size = float(value)
    except OverflowError:
        size = math.inf
    except (TypeError, ValueError):
        raise TypeError(
            f"canonical_size must be a number of pixels, got {value!r} of type {type(value).__name__}"
        ) from None
    if not 1 <= size <= MAX_CANONICAL_SIZE:
        raise ValueError(f"canonical_size must be in 1..{MAX_CANONICAL_SIZE} pixels, got {value!r}")
    return float(np.float32(size))


def as_canonical_level(value) -> int:
    """multilevel_roi_align's `canonical_level`."""
    return as_int("canonical_level", value, 0, MAX_LEVEL)


def spatial_scales(levels) -> list[float]:
    """Feature pixels per image pixel on each level."""
    return [2.0**-level for level in levels]


@functools.lru_cache(maxsize=256)
def level_areas(levels: tuple[int, ...], canonical_size: float, canonical_level: int) -> tuple[float, ...]:
    """For each level but the first, the least area of a box that goes to it or to a coarser one.

    The rule is that of FPN (Lin et al. 2017, equation 1) in the float32 steps of torchvision's LevelMapper, see
    `ideal_level`. Each step keeps the order of its arguments, so the rule is a staircase over the areas, and where it
    steps is found by bisection over the float32 numbers. Comparing an area with that gives what the rule gives, without
    a logarithm, about the last bit of which libraries differ. (torch on x86 leaves square roots to MKL, which rounds
    one in five of them wrongly: an area whose root is a neighbour of a step's may go the other way there.)
    """
    areas = []
    for finer, coarser in itertools.pairwise(levels):
        # The first level that is nearer to the coarser one; halfway between, the finer one has more to show.
        first = (finer + coarser) // 2 + 1
        low, high = 0, int(np.float32(np.inf).view(np.int32))  # the numbers of float32 in their order
        while low < high:
            middle = (low + high) // 2
            side = np.sqrt(np.int32(middle).view(np.float32))
            if ideal_level(side, canonical_size, canonical_level) >= first:
                high = middle
            else:
                low = middle + 1
        areas.append(float(np.int32(low).view(np.float32)))
    return tuple(areas)


def ideal_level(side: np.float32, canonical_size: float, canonical_level: int) -> float:
    """`floor(canonical_level + log2(side / canonical_size) + 1e-6)`, each step rounded to float32."""
    ratio = side / np.float32(canonical_size)
    if ratio == 0:
        return -math.inf
    if not np.isfinite(ratio):
        return math.inf
    return math.floor(np.float32(canonical_level) + np.float32(math.log2(float(ratio))) + np.float32(1e-6))
