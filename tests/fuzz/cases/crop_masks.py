"""Crops of masks in their three forms."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.fuzz.draws import Case, Draw, boxes, extent, integers
from tests.fuzz.masks import mask, polygon, runs, size


def _image(rng: np.random.Generator, ragged: bool) -> tuple[int, int]:
    if ragged and rng.random() < 0.01:  # that no dense mask could have
        return ((2**20, 3), (3, 2**20), (2**15, 2**10))[rng.integers(3)]
    return size(rng)


def _common(rng: np.random.Generator, masks: int, image: tuple[int, int]) -> tuple[dict[str, Any], dict[str, Any]]:
    count = max(1, extent(rng, 5))
    indices = integers(rng, (count,), -1, masks)
    near = [min(side, 1000) for side in image]
    arrays = {
        "boxes": boxes(rng, (count,), *near),
        "mask_indices": np.minimum(indices, -1) if masks == 0 else indices,
        "image_size": np.array(image, np.int32),
    }
    large = rng.random() < 0.05  # several vectors of bins, and more words than one batch of 64
    attributes = {
        "size": [int(rng.integers(1, 100 if large else 9)) for _ in range(2)],
        "sampling_ratio": int(rng.choice([0, 0, 1, 2, 3, 100])),
        "aligned": bool(rng.integers(2)),
    }
    return arrays, attributes


def _dense(rng: np.random.Generator) -> Draw:
    image = size(rng)
    count = extent(rng, 3) % 10
    pixels = np.array([mask(rng, *image) for _ in range(count)], bool).reshape(count, *image)
    arrays, attributes = _common(rng, count, image)
    packed = bool(rng.integers(2))
    if packed:
        masks = (
            np.packbits(pixels, axis=-1, bitorder="little")
            if pixels.size
            else np.zeros((count, image[0], (image[1] + 7) // 8), np.uint8)
        )
        if rng.random() < 0.2:
            masks = rng.integers(0, 256, masks.shape).astype(np.uint8)  # with bits beyond the width
    else:
        masks = (pixels * rng.integers(1, 256, pixels.shape)).astype(np.uint8)
    return Draw({"masks": masks, **arrays}, {**attributes, "packed": packed})


def _splits(lengths: list[int]) -> np.ndarray:
    return np.cumsum([0, *lengths]).astype(np.int64)


def _rle(rng: np.random.Generator) -> Draw:
    image = _image(rng, ragged=True)
    count = max(1, extent(rng, 3) % 10)
    if image[0] * image[1] > 10**5:
        counts = [np.array([image[0] * image[1] - 5, 5]) for _ in range(count)]
    else:
        counts = [runs(rng, mask(rng, *image)) for _ in range(count)]
    arrays, attributes = _common(rng, count, image)
    ragged = {"counts": np.concatenate(counts).astype(np.int32), "mask_splits": _splits([len(run) for run in counts])}
    return Draw({**ragged, **arrays}, attributes)


def _polygon(rng: np.random.Generator) -> Draw:
    image = _image(rng, ragged=True)
    count = max(1, extent(rng, 3) % 10)
    per_mask = [int(rng.integers(0, 3)) for _ in range(count)]
    near = [min(side, 1000) for side in image]
    dtype = (np.float32, np.float64)[rng.integers(2)]
    corners = [polygon(rng, *near, dtype=dtype) for _ in range(sum(per_mask))]
    arrays, attributes = _common(rng, count, image)
    ragged = {
        "coordinates": np.concatenate([np.zeros(0, dtype), *corners]),
        "polygon_splits": _splits([len(entry) for entry in corners]),
        "mask_splits": _splits(per_mask),
    }
    return Draw({**ragged, **arrays}, attributes)


def _numpy(draw: Draw) -> dict[str, Any]:
    arguments = {**draw.arrays, **draw.attributes}
    arguments["image_size"] = tuple(int(side) for side in np.ravel(arguments["image_size"]).tolist())
    return arguments


CASES = [
    Case("crop_masks", _dense, numpy=_numpy),
    *(
        Case(f"crop_masks_{form}", draw, numpy=_numpy, words=("masks",))
        for form, draw in (("rle", _rle), ("polygon", _polygon))
    ),
]
