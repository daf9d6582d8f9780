"""mask_nms on a GPU: every kind, batches, padding, boxes, packed masks and small rounds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.cuda.case import Case
from benchmarks.cuda.device import Device
from benchmarks.cuda.ops.mask_iou import blobs, packed, random_boxes, random_masks
from benchmarks.cuda.ops.nms import SMALL_PLAN
from benchmarks.cuda.race import Race, our_milliseconds

KINDS = ("hard", "soft", "matrix")  # in the order of enum MaskNmsKind


def cases(seed: int) -> list[Case]:
    """Every kind with and without limits, thresholds and boxes, and without masks or pixels."""
    generator = np.random.default_rng(seed)
    made = []
    for kind in KINDS:
        for shape, pack, boxes, classes, iou, least, most, plan in [
            ((2, 30, 9, 20), False, False, 3, 0.4, None, 30, ()),
            ((1, 50, 12, 70), True, True, 1, 0.2, 0.1, 12, SMALL_PLAN),
            ((1, 150, 3, 9), False, False, 1, 0.6, None, 160, SMALL_PLAN),
            ((2, 6, 0, 4), False, False, 2, 0.5, None, 4, ()),
            ((2, 0, 5, 4), True, False, 2, 0.5, None, 3, ()),
            ((2, 6, 5, 4), True, False, 2, -0.5, -1.0, 6, ()),
        ]:
            room = min(most, 20) if kind == "soft" else most  # a pick takes some milliseconds on the CPU
            made.append(_case(generator, kind, shape, pack, boxes, classes, iou, least, room, plan))
    return made


def _case(generator, kind, shape, pack, boxes, classes, iou, least, most, plan) -> Case:
    images, count, height, width = shape
    masks = np.zeros(shape, np.uint8)
    if masks.size:
        masks = random_masks(generator, images * count, height, width).reshape(shape)
        masks[:, count // 2 :: 3] = masks[:, :1]  # the same mask many times
    scores = (generator.integers(0, 40, (images, count)) / 40).astype(np.float32)
    strange = np.array([np.nan, -np.inf, np.inf, 1e-40, -0.0, -2.5], np.float32)
    scores.reshape(-1)[: len(strange)] = strange[: scores.size]
    class_ids = generator.integers(-2, classes, (images, count)).astype(np.int32)
    held = np.zeros((0, 0, 4), np.float32)
    if boxes:
        held = np.stack([random_boxes(generator, count, height, width) for _ in range(images)])
    masks = packed(masks, generator) if pack else masks

    def expected():
        from kseg_ops.reference.mask_nms import mask_nms

        found = mask_nms(
            masks, scores, class_ids, most, kind, iou, least, 0.3, width if pack else None, held if boxes else None
        )
        return [part.numpy() for part in found]

    return Case(
        name=f"mask_nms/{kind}, {shape}, packed={pack}, boxes={boxes}, {iou}, {least}, {most}, {plan}",
        launcher="mask_nms",
        inputs=[masks, scores, class_ids, held],
        outputs=[np.zeros((images, most), np.int32), np.zeros((images, most), np.float32), np.zeros(images, np.int32)],
        expected=expected,
        tolerance=[0, 0, 0],
        numbers=[width if pack else -1, KINDS.index(kind), iou, 0.3, most, least is not None, least or 0, *plan],
    )


def races(device: Device) -> Iterator[Race]:
    """100 masks of an image."""
    masks = blobs(100, 800, 1216)[None]
    scores = np.random.default_rng(0).uniform(size=(1, 100)).astype(np.float32)
    inputs = [masks, scores, np.zeros((1, 100), np.int32), np.zeros((0, 0, 4), np.float32)]
    outputs = [np.zeros((1, 100), np.int32), np.zeros((1, 100), np.float32), np.zeros(1, np.int32)]
    arrays = [*map(device.array, inputs), *map(device.empty, outputs)]
    for kind in KINDS:
        numbers = [-1, KINDS.index(kind), 0.5, 0.5, 100, 0, 0]
        milliseconds = our_milliseconds(device, "mask_nms", arrays, numbers)
        yield Race(f"mask NMS of 100 masks of 800 x 1216, {kind}", milliseconds, least_bytes=masks.size)
