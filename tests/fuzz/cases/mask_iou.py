"""Overlaps of masks."""

from __future__ import annotations

import numpy as np

from tests.fuzz.draws import Case, Draw, boxes, extent


def mask_size(rng: np.random.Generator) -> tuple[int, int]:
    """Height and width: mostly around a word of bits, seldom so wide that a row's sums overflow a byte."""
    kind = rng.random()
    if kind < 0.002:
        return int(rng.integers(1, 3)), int(rng.integers(16000, 40000))
    if kind < 0.05:
        return extent(rng, 20), int(rng.integers(100, 600))
    return extent(rng, 24), extent(rng, 130)


def masks(rng: np.random.Generator, count: tuple[int, ...], size: tuple[int, int]) -> np.ndarray:
    """Rectangles, noise, empty and full masks as bool `count + size`."""
    height, width = size
    top, bottom = np.sort(rng.integers(0, height + 1, (2, *count)), axis=0)
    left, right = np.sort(rng.integers(0, width + 1, (2, *count)), axis=0)
    y, x = np.arange(height)[:, None], np.arange(width)
    inside = (y >= top[..., None, None]) & (y < bottom[..., None, None])
    inside = inside & (x >= left[..., None, None]) & (x < right[..., None, None])
    kind = rng.random()
    if kind < 0.3:
        inside = inside & (rng.random(inside.shape) < rng.choice([0.02, 0.5, 0.95]))
    return np.ones_like(inside) if kind > 0.97 else inside


def as_input(rng: np.random.Generator, dense: np.ndarray, packed: bool, dirty: bool) -> np.ndarray:
    """Bits (with anything in the bits beyond the width, if `dirty`), or bytes that are 0 or not, or bool."""
    if packed:
        bits = np.packbits(dense, axis=-1, bitorder="little")
        rest = dense.shape[-1] % 8
        if dirty and rest and bits.size:
            bits[..., -1] |= np.uint8(0xFF << rest & 0xFF)
        return bits
    if rng.random() < 0.5 and not dirty:
        return dense
    return dense * np.uint8(255 if dirty else 1)


def _draw(rng: np.random.Generator) -> Draw:
    size = mask_size(rng)
    most = 12 if size[0] * size[1] < 5000 else 3
    packed, dirty = bool(rng.integers(2)), bool(rng.integers(2))
    a = as_input(rng, masks(rng, (extent(rng, most),), size), packed, dirty)
    b = as_input(rng, masks(rng, (extent(rng, most),), size), packed, dirty).astype(a.dtype)
    arrays = {"a": a, "b": b, "is_crowd": rng.random(len(b)) < 0.3}
    absent = []
    for name, masks_of in (("boxes_a", a), ("boxes_b", b)):
        arrays[name] = mask_boxes(rng, (len(masks_of),), size)
        if not len(arrays[name]):
            absent.append(name)
    return Draw(arrays, {"width": size[1] if packed else -1}, tuple(absent))


def mask_boxes(rng: np.random.Generator, count: tuple[int, ...], size: tuple[int, int]) -> np.ndarray:
    """Boxes of that many masks, half of the time none; some on whole pixels."""
    if rng.random() < 0.5:
        return np.zeros((*[0] * len(count), 4), np.float32)
    drawn = boxes(rng, count, *size)
    return np.round(drawn) if rng.random() < 0.5 else drawn


def bytes_for_bool(draw: Draw) -> dict:
    """The NumPy functions take bytes only."""
    return {
        **{name: array.view(np.uint8) if array.dtype == np.bool_ else array for name, array in draw.arrays.items()},
        **draw.attributes,
    }


CASES = [Case("mask_iou", _draw, numpy=bytes_for_bool)]
