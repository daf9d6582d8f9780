"""nms on a GPU: cases of all kinds of boxes and of cuts of the work, and the race against torchvision."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from benchmarks.cuda.case import Case
from benchmarks.cuda.device import Device
from benchmarks.cuda.race import Race, our_milliseconds, torch_milliseconds
from benchmarks.proposals import proposal_boxes

# Tiles, merges and rounds so small that few boxes need several of each.
SMALL_PLAN = (64, 2, 128)


def boxes_and_scores(generator: np.random.Generator, shape: tuple[int, ...], side: float = 60.0):
    """Crowded boxes `[*shape, 4]` and scores `[*shape]` of which some are equal, and a few of either are strange."""
    corners = generator.uniform(-side / 8, side, (*shape, 2))
    sizes = np.exp(generator.uniform(np.log(side / 20), np.log(side / 2), (*shape, 2)))
    boxes = np.concatenate([corners, corners + sizes], -1).astype(np.float32)
    boxes[generator.uniform(size=shape) < 0.1] = boxes.reshape(-1, 4)[0]  # the same box many times
    scores = (generator.integers(0, 200, shape) / 200).astype(np.float32)
    strange = [
        [4, 4, 4, 9],  # empty
        [9, 8, 3, 2],  # inverted
        [np.nan, 1, 5, 5],
        [0, 0, np.inf, 5],
        [-3e38, -3e38, 3e38, 3e38],  # too large
        [1e-12, -1e-12, 5, 5],
        [0, 0, 5, 5],
    ]
    flat = boxes.reshape(-1, 4)
    places = generator.permutation(len(flat))[: len(strange)]
    flat[places] = strange[: len(places)]
    numbers = np.array([np.nan, -np.inf, np.inf, 1e-40, -1e-40, -0.0, 0.0, -2.5], np.float32)
    places = generator.permutation(len(flat))[: len(numbers)]
    scores.reshape(-1)[places] = numbers[: len(places)]
    return boxes, scores


def cases(seed: int) -> list[Case]:
    """One class and several, thresholds and limits, cut in the usual way and small."""
    generator = np.random.default_rng(seed)
    made = []
    for count, iou, score, limit, classes, plan in [
        (0, 0.5, -math.inf, -1, 0, ()),
        (1, 0.5, -math.inf, -1, 3, ()),
        (100, 0.5, -math.inf, -1, 0, ()),
        (300, 0.3, 0.2, -1, 4, ()),
        (300, 0.0, -math.inf, -1, 0, SMALL_PLAN),
        (700, 0.6, -math.inf, -1, 0, SMALL_PLAN),
        (700, 0.6, 0.0, 40, 3, SMALL_PLAN),
        (700, 1.0, -math.inf, 690, 0, SMALL_PLAN),
        (40, 0.5, 2.0, 0, 0, ()),
    ]:
        boxes, scores = boxes_and_scores(generator, (count,)) if count else (np.zeros((0, 4), np.float32),) * 2
        scores = scores.reshape(-1)[:count]
        ids = generator.integers(-1, classes, count).astype(np.int32) if classes else np.zeros(0, np.int32)
        ids[ids == 2] = 2**31 - 1
        made.append(_case(boxes, scores, ids, iou, score, limit, plan))
    return made


def _case(boxes, scores, ids, iou, score, limit, plan) -> Case:
    count = len(boxes)
    places = count if limit < 0 else min(limit, count)

    def expected():
        import kseg_ops

        with kseg_ops.use_reference():
            kept = kseg_ops.nms(
                boxes, scores, iou, None if limit < 0 else limit, score, ids if len(ids) else None
            ).numpy()
        return [np.pad(kept, (0, places - len(kept)), constant_values=-1), np.array([len(kept)], np.int32)]

    return Case(
        name=f"nms/{count} boxes, iou_threshold={iou}, score_threshold={score}, max_output_size={limit}, plan={plan}",
        launcher="nms",
        inputs=[boxes, scores, ids],
        outputs=[np.zeros(places, np.int32), np.zeros(1, np.int32)],
        expected=expected,
        tolerance=[0, 0],
        numbers=[iou, score, limit, *plan],
    )


def races(device: Device) -> Iterator[Race]:
    """Proposals of one image, of one class."""
    import torch
    import torchvision

    generator = np.random.default_rng(0)
    for count in (1000, 12000):
        boxes, scores = proposal_boxes(count, 0), generator.permutation(count).astype(np.float32) / count
        arrays = [device.array(array) for array in (boxes, scores, np.zeros(0, np.int32))]
        kept, found = device.empty(np.zeros(count, np.int32)), device.empty(np.zeros(1, np.int32))
        ours = our_milliseconds(device, "nms", [*arrays, kept, found], [0.7, -math.inf, -1])
        theirs = [torch.from_numpy(array).cuda() for array in (boxes, scores)]

        def peer(theirs=theirs):
            return torchvision.ops.nms(*theirs, 0.7)

        expected = peer().cpu().numpy()
        got = kept.numpy()[: found.numpy()[0]]
        yield Race(
            f"NMS of {count} boxes",
            ours,
            {"torchvision": torch_milliseconds(peer)},
            off=float(len(np.setxor1d(got, expected)) / len(expected)),
        )
