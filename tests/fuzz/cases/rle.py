"""The run-length codecs of the NumPy module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.fuzz.draws import Case, Draw, extent
from tests.fuzz.masks import mask, polygon, runs, size, text

# Sizes at the limits: no pixels, the most pixels, and products that overflow.
_HUGE = ((2**31 - 1, 1), (1, 2**31 - 1), (2**31, 1), (2**16, 2**15), (2**62, 2**62), (2**63 - 1, 2**63 - 1), (2**40, 0))


def _payload(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    counts = runs(rng, mask(rng, height, width))
    return text(counts) if rng.integers(2) else counts


def _items(rng: np.random.Generator, count: int, image: tuple[int, int]) -> tuple[list[np.ndarray], np.ndarray]:
    return [_payload(rng, *image) for _ in range(count)], np.tile(np.array(image, np.int64), (count, 1))


def _draw(rng: np.random.Generator, most: int = 4) -> Draw:
    count = extent(rng, most) % 10
    image = size(rng)
    payloads, sizes = _items(rng, count, image)
    if rng.random() < 0.2 and count:  # other sizes, and huge ones
        at = int(rng.integers(count))
        image = _HUGE[rng.integers(len(_HUGE))] if rng.random() < 0.5 else size(rng)
        sizes[at] = image
        if image[0] * image[1] > 10**5:
            counts = np.array([min(image[0] * image[1], 2**63 - 1)], np.int64)
            if rng.random() < 0.5 and counts[0] < 2**32:
                cuts = np.sort(rng.integers(0, counts[0], 4))
                counts = np.diff(np.concatenate([[0], cuts, counts])).astype(np.int64)
            payloads[at] = text(counts) if rng.integers(2) else counts
        else:
            payloads[at] = _payload(rng, *image)
    return Draw({"payloads": payloads, "sizes": sizes})


def _boundary(rng: np.random.Generator) -> Draw:
    draw = _draw(rng)
    reaches = np.minimum(rng.geometric(0.3, len(draw.arrays["payloads"])), 2**31 - 1)
    if rng.random() < 0.05 and reaches.size:
        reaches[rng.integers(reaches.size)] = rng.choice([0, -1, 64, 2**20, 2**31 - 1, 2**31, 2**62])
    return Draw({**draw.arrays, "reaches": reaches.astype(np.int64)})


def _decode(rng: np.random.Generator) -> Draw:
    image = size(rng)
    payloads, sizes = _items(rng, extent(rng, 4) % 10, image)
    if rng.random() < 0.02 and len(payloads):
        possible = rng.random() < 0.01  # and takes a second
        sizes[:] = image = _HUGE[rng.integers(2) if possible else rng.integers(2, len(_HUGE))]
        counts = np.array([min(image[0] * image[1] - 1, 2**62), 1], np.int64)
        payloads = [text(counts) for _ in payloads]
    return Draw({"payloads": payloads, "sizes": sizes}, {"packed": bool(rng.integers(2))})


def _merge(rng: np.random.Generator) -> Draw:
    payloads, sizes = _items(rng, max(1, extent(rng, 4) % 10), size(rng))
    return Draw({"payloads": payloads, "sizes": sizes}, {"intersect": bool(rng.integers(2))})


def _encode(rng: np.random.Generator) -> Draw:
    height, width = size(rng)
    masks = np.stack([mask(rng, height, width) for _ in range(max(1, extent(rng, 3) % 10))])
    return Draw({"masks": (masks * rng.integers(1, 256, masks.shape)).astype(np.uint8)})


def _encode_packed(rng: np.random.Generator) -> Draw:
    height, width = size(rng)
    packed = rng.integers(0, 256, (max(1, extent(rng, 3) % 10), height, (width + 7) // 8))
    packed[..., rng.integers(packed.shape[2] + 1) :] = int(rng.choice([0, 255]))
    return Draw({"packed": packed.astype(np.uint8)}, {"width": width})


def _polygons(rng: np.random.Generator) -> Draw:
    image = size(rng)
    if rng.random() < 0.02:
        image = ((1, 2**12), (2**20, 1), (2**19, 2**12 - 1), *_HUGE[3:])[rng.integers(3 + len(_HUGE[3:]))]
    near = [min(side, 1000) for side in image]
    polygons = [polygon(rng, *near) for _ in range(max(1, extent(rng, 3) % 8))]
    return Draw({"polygons": polygons}, {"image_size": image})


def _iou(rng: np.random.Generator) -> Draw:
    arrays: dict[str, Any] = {}
    groups = int(rng.integers(1, 4))
    images = [size(rng) for _ in range(groups)]
    for side in "ab":
        per_group = [int(rng.integers(0 if groups > 1 else 1, 5)) for _ in range(groups)]
        payloads: list[np.ndarray] = []
        sizes = []
        for image, count in zip(images, per_group, strict=True):
            made, their_sizes = _items(rng, count, image)
            payloads += made
            sizes.append(their_sizes)
        arrays[side] = payloads
        arrays[f"{side}_sizes"] = np.concatenate(sizes)
        arrays[f"{side}_splits"] = np.cumsum([0, *per_group]).astype(np.int64)
    arrays["is_crowd"] = rng.integers(0, 2, len(arrays["b"])).astype(np.uint8)
    return Draw(arrays, {"with_crowd": bool(rng.integers(2))})


def _form(array: np.ndarray) -> bytes | np.ndarray:
    return array.tobytes() if array.dtype == np.uint8 else array


def _numpy(draw: Draw) -> dict[str, Any]:
    lists = {
        name: [_form(entry) for entry in draw.arrays[name]] for name in ("payloads", "a", "b") if name in draw.arrays
    }
    arguments = {**draw.arrays, **draw.attributes, **lists}
    if not arguments.pop("with_crowd", True):
        arguments["is_crowd"] = None
    return arguments


def _case(name: str, draw: Callable[[np.random.Generator], Draw]) -> Case:
    return Case(f"rle_{name}", draw, tensorflow=False, numpy=_numpy, words=("rles",))


CASES = [
    _case("encode", _encode),
    _case("encode_packed", _encode_packed),
    _case("decode", _decode),
    _case("area", _draw),
    _case("to_boxes", _draw),
    _case("boundary", _boundary),
    _case("to_counts", _draw),
    Case(
        "rle_compress",
        _draw,
        tensorflow=False,
        numpy=lambda draw: {**_numpy(draw), "argument": "rles"},
        words=("rles",),
    ),
    _case("merge", _merge),
    _case("from_polygons", _polygons),
    _case("iou", _iou),
]
