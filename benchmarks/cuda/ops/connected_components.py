"""connected_components on a GPU: noise, lines across tiles, spirals, full and empty images of odd sizes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.cuda.case import Case
from benchmarks.cuda.device import Device
from benchmarks.cuda.ops.mask_iou import blobs
from benchmarks.cuda.race import Race, our_milliseconds


def spiral(height: int, width: int) -> np.ndarray:
    """One line a pixel wide that winds inwards with a gap of one pixel: the longest way from end to end."""
    mask = np.zeros((height, width), np.uint8)
    top, left, bottom, right = 0, 0, height - 1, width - 1
    while top <= bottom and left <= right:
        mask[top, max(left - 2, 0) : right + 1] = 1
        mask[top : bottom + 1, right] = 1
        mask[bottom, left : right + 1] = 1
        mask[top + 2 : bottom + 1, left] = 1
        top, left, bottom, right = top + 2, left + 2, bottom - 2, right - 2
    return mask


def comb(height: int, width: int) -> np.ndarray:
    """Columns that only the last row joins."""
    mask = np.zeros((height, width), np.uint8)
    mask[:, ::2] = 255
    mask[-1] = 3
    return mask


def cases(seed: int) -> list[Case]:
    """Both connectivities; sizes below and above those of tiles, chunks and words."""
    generator = np.random.default_rng(seed)
    images = [
        ("noise", generator.uniform(size=(2, 70, 300)) < 0.55),
        ("sparse noise", generator.uniform(size=(3, 33, 65)) < 0.35),
        ("narrow", generator.uniform(size=(1, 200, 1)) < 0.7),
        ("flat", generator.uniform(size=(2, 1, 600)) < 0.9),
        ("checkers", np.indices((1, 40, 60)).sum(0) % 2),
        ("diagonals", np.indices((1, 70, 272)).sum(0) % 3 == 0),
        ("spiral", spiral(67, 290)[None]),
        ("comb", comb(97, 263)[None]),
        ("full", np.ones((2, 65, 64))),
        ("empty", np.zeros((2, 5, 7))),
        ("no images", np.zeros((0, 5, 7))),
        ("no pixels", np.zeros((3, 0, 7))),
    ]
    made = []
    for what, masks in images:
        values = masks.astype(np.uint8) * (generator.integers(1, 256, masks.shape).astype(np.uint8))
        for connectivity in (4, 8):
            made.append(_case(what, values, connectivity))
    return made


def _case(what: str, masks: np.ndarray, connectivity: int) -> Case:
    def expected():
        import kseg_ops

        with kseg_ops.use_reference():
            return [part.numpy() for part in kseg_ops.connected_components(masks, connectivity)]

    return Case(
        name=f"connected_components/{what}, {masks.shape}, {connectivity}",
        launcher="connected_components",
        inputs=[masks],
        outputs=[np.zeros(masks.shape, np.int32), np.zeros(len(masks), np.int32)],
        expected=expected,
        tolerance=[0, 0],
        numbers=[connectivity],
    )


def races(device: Device) -> Iterator[Race]:
    """Eight masks of 1024 x 2048: objects, noise, and all foreground but a pixel."""
    shape = (8, 1024, 2048)
    objects = np.stack([blobs(40, *shape[1:]).max(0)] * shape[0])
    noise = (np.random.default_rng(0).uniform(size=shape) < 0.6).astype(np.uint8)
    full = np.ones(shape, np.uint8)
    full[:, 300, 500] = 0
    for name, masks in (("objects", objects), ("noise", noise), ("all but a pixel", full)):
        arrays = [
            device.array(masks),
            device.empty(np.zeros(masks.shape, np.int32)),
            device.empty(np.zeros(len(masks), np.int32)),
        ]
        milliseconds = our_milliseconds(device, "connected_components", arrays, [8])
        what = " x ".join(map(str, shape))
        yield Race(f"connected components of {what}, {name}", milliseconds, least_bytes=5 * masks.size)
