"""Masks pasted into their boxes of an image: bytes, bits and run lengths."""

from __future__ import annotations

import numpy as np

from tests.fuzz.draws import Case, Draw, boxes, extent, floats


def _pasting(rng: np.random.Generator) -> Draw:
    kind = rng.random()
    # Several bands of rows and strips of columns, seldom; a little more than one strip, often.
    height, width = (
        (int(size) for size in rng.integers(1, 400, 2)) if kind < 0.03 else (extent(rng, 70), extent(rng, 70))
    )
    count = extent(rng, 4) if kind < 0.9 else extent(rng, 12)
    mask = (extent(rng, 28), extent(rng, 28))
    if rng.random() < 0.5:
        mask = (mask[0], mask[0])
    return Draw(
        {
            "masks": floats(rng, (count, *mask), scale=1.0),
            "boxes": boxes(rng, (count,), height, width),
            "image_size": np.array([height, width], np.int32),
        },
        {
            "mode": str(rng.choice(["detectron2", "torchvision"])),
            "threshold": float(np.float32(rng.choice([0.5, 0.1, 1e-11, 1e11]))),
        },
    )


def _dense(rng: np.random.Generator) -> Draw:
    draw = _pasting(rng)
    draw.attributes["packed"] = bool(rng.integers(2))
    return draw


def _numpy(draw: Draw) -> dict:
    arguments = {**draw.arrays, **draw.attributes}
    arguments["image_size"] = tuple(int(extent) for extent in np.ravel(arguments["image_size"]))
    return arguments


CASES = [
    Case("paste_masks", _dense, numpy=_numpy),
    Case("paste_masks_rle", _pasting, numpy=_numpy),
]
