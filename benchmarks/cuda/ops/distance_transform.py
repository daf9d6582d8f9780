"""distance_transform on a GPU: whole and other spacings, signed, with indices, and images of one kind only."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.cuda.case import Case
from benchmarks.cuda.device import Device
from benchmarks.cuda.ops.mask_iou import blobs
from benchmarks.cuda.race import Race, our_milliseconds

EPS = float(np.finfo(np.float32).eps)


def cases(seed: int) -> list[Case]:
    """Distances within and beyond words, steps and rows; ties everywhere."""
    generator = np.random.default_rng(seed)
    points = np.ones((1, 25, 300), np.uint8)
    points.reshape(-1)[generator.integers(0, points.size, 12)] = 0
    disc = (np.hypot(*(np.indices((1, 45, 150))[1:] - np.array([[[[22]]], [[[70]]]]))) < 21).astype(np.uint8)
    one = np.ones((1, 5, 260), np.uint8)
    one[0, 2, 257] = 0
    images = [
        ("noise", (generator.uniform(size=(2, 37, 70)) < 0.8).astype(np.uint8) * 7, (1, 1)),
        ("points", points, (1, 1)),
        ("points", points, (2, 2)),
        ("points", 1 - points, (1.5, 0.5)),
        ("points", points, (np.pi, 1)),
        ("disc", disc, (1, 1)),
        ("disc", disc * 255, (0.8, 1.25)),
        ("one", one, (1, 1)),
        ("stripes", np.tile(np.arange(100, dtype=np.uint8) // 9 % 2, (1, 64, 1)), (1, 1)),
        ("foreground only", np.ones((2, 33, 34), np.uint8), (1, 1)),
        ("background only", np.zeros((1, 3, 65), np.uint8), (3, 1)),
        ("a row", (generator.uniform(size=(2, 1, 97)) < 0.9).astype(np.uint8), (1, 1)),
        ("a column", (generator.uniform(size=(2, 97, 1)) < 0.9).astype(np.uint8), (1, 1)),
        ("wide", (generator.uniform(size=(1, 1, 32768)) < 0.9).astype(np.uint8), (1, 1)),
        ("no pixels", np.zeros((2, 0, 3), np.uint8), (1, 1)),
        ("no images", np.zeros((0, 4, 3), np.uint8), (1, 1)),
    ]
    made = []
    for what, masks, spacing in images:
        whole = spacing[0] != np.pi
        made.append(_case(what, masks, spacing, False, whole, whole))
        if what != "wide":
            made.append(_case(what, masks, spacing, True, whole and spacing == (1, 1), whole))
    return made


def _case(what, masks, spacing, signed, indices, whole) -> Case:
    def expected():
        import kseg_ops

        with kseg_ops.use_reference():
            found = kseg_ops.distance_transform(masks, spacing, signed, indices)
        return [part.numpy() for part in (found if indices else [found])]

    longest = np.hypot(masks.shape[1] * spacing[0], masks.shape[2] * spacing[1])
    return Case(
        name=f"distance_transform/{what}, {masks.shape}, spacing {spacing}, signed={signed}, indices={indices}",
        launcher="distance_transform",
        inputs=[masks],
        outputs=[np.zeros(masks.shape, np.float32), *([np.zeros((*masks.shape, 2), np.int32)] if indices else [])],
        expected=expected,
        # Where squared distances are not whole, float64 rounds them differently by the order of the sums.
        tolerance=[0 if whole else longest * EPS, *([0] if indices else [])],
        numbers=[*spacing, signed],
    )


def races(device: Device) -> Iterator[Race]:
    """Eight masks of 1024 x 2048: objects, noise, and all foreground but a pixel."""
    shape = (8, 1024, 2048)
    objects = np.stack([blobs(40, *shape[1:]).max(0)] * shape[0])
    noise = (np.random.default_rng(0).uniform(size=shape) < 0.6).astype(np.uint8)
    full = np.ones(shape, np.uint8)
    full[:, 300, 500] = 0
    for name, masks in (("objects", objects), ("noise", noise), ("all but a pixel", full)):
        arrays = [device.array(masks), device.empty(np.zeros(masks.shape, np.float32))]
        milliseconds = our_milliseconds(device, "distance_transform", arrays, [1, 1, 0])
        what = " x ".join(map(str, shape))
        yield Race(f"distance transform of {what}, {name}", milliseconds, least_bytes=5 * masks.size)
