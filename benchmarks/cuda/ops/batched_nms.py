"""batched_nms on a GPU: every kind with every kind of input, and the race against torchvision."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from benchmarks.cuda.case import Case
from benchmarks.cuda.device import Device
from benchmarks.cuda.ops.nms import SMALL_PLAN, boxes_and_scores
from benchmarks.cuda.race import Race, our_milliseconds, torch_milliseconds
from benchmarks.proposals import proposal_boxes

METHODS = ("hard", "linear", "gaussian", "matrix_linear", "matrix_gaussian")  # in the order of enum NmsMethod


def cases(seed: int) -> list[Case]:
    """Every method with one class, class ids, several classes with common and with own boxes, and with limits."""
    generator = np.random.default_rng(seed)
    made = []
    for method in METHODS:
        for shape, own_boxes, ids, agnostic, iou, score, places, per_class, plan in [
            ((2, 90), False, False, False, 0.5, -math.inf, 100, -1, ()),
            ((3, 150), False, True, False, 0.4, 0.1, 30, -1, ()),
            ((1, 400), False, True, False, 0.5, -math.inf, 60, 6, SMALL_PLAN),
            ((1, 400), False, True, True, 0.5, 0.0, 25, 10, SMALL_PLAN),
            ((2, 40, 5), False, False, False, 0.3, 0.0, 50, 4, SMALL_PLAN),
            ((1, 30, 4), True, False, True, 0.0, -math.inf, 130, -1, ()),
            ((2, 0), False, True, False, 0.5, 0.0, 3, -1, ()),
            ((0, 20), False, False, False, 0.5, 0.0, 3, -1, ()),
        ]:
            boxes, scores = _inputs(generator, shape, own_boxes)
            class_ids = generator.integers(-1, 4, shape[:2]).astype(np.int32) if ids else np.zeros((0, 0), np.int32)
            options = (iou, score, places, per_class, agnostic, 0.4, METHODS.index(method))
            made.append(_case(method, boxes, scores, class_ids, options, plan))
    return made


def _inputs(generator: np.random.Generator, shape: tuple[int, ...], own_boxes: bool):
    if 0 in shape:
        return np.zeros((*shape[:2], 1, 4), np.float32), np.zeros((*shape[:2], 1), np.float32)
    boxes, scores = boxes_and_scores(generator, shape)
    if len(shape) == 2:
        return boxes[:, :, None], scores[:, :, None]
    return boxes if own_boxes else boxes[:, :, :1], scores


def _case(method, boxes, scores, class_ids, options, plan) -> Case:
    iou, score, places, per_class, agnostic, sigma, _ = options
    images = len(boxes)

    def expected():
        import kseg_ops

        kernel = method.removeprefix("matrix_") if method.startswith("matrix") else "gaussian"
        with kseg_ops.use_reference():
            found = kseg_ops.batched_nms(
                boxes if boxes.shape[2] > 1 else boxes[:, :, 0],
                scores if scores.shape[2] > 1 else scores[:, :, 0],
                iou,
                score,
                places,
                None if per_class < 0 else per_class,
                class_ids if len(class_ids) else None,
                "matrix" if method.startswith("matrix") else method,
                sigma,
                kernel,
                agnostic,
            )
        return [part.numpy() for part in found]

    return Case(
        name=f"batched_nms/{method}, {scores.shape}, boxes {boxes.shape}, ids {class_ids.shape}, {options}, {plan}",
        launcher="batched_nms",
        inputs=[boxes, scores, class_ids],
        outputs=[
            np.zeros((images, places, 4), np.float32),
            np.zeros((images, places), np.float32),
            np.zeros((images, places), np.int32),
            np.zeros((images, places), np.int32),
            np.zeros(images, np.int32),
        ],
        expected=expected,
        tolerance=[0] * 5,
        numbers=[*options, *plan],
    )


def races(device: Device) -> Iterator[Race]:
    """Proposals of eight images, of one class and of 80, against torchvision's function in a loop over images."""
    import torch
    import torchvision

    generator = np.random.default_rng(0)
    images, rows = 8, 12000
    boxes = np.stack([proposal_boxes(rows, seed) for seed in range(images)])
    scores = generator.permuted(np.tile(np.arange(rows, dtype=np.float32) / rows, (images, 1)), axis=1)
    for classes, places in ((1, 1000), (1, rows), (80, rows)):
        ids = generator.integers(0, classes, (images, rows)).astype(np.int32)
        arrays = [device.array(array) for array in (boxes[:, :, None], scores[:, :, None], ids)]
        shapes = ((images, places, 4), (images, places), (images, places), (images, places), (images,))
        kinds = (np.float32, np.float32, np.int32, np.int32, np.int32)
        made = [device.empty(np.zeros(shape, kind)) for shape, kind in zip(shapes, kinds, strict=True)]
        theirs = [torch.from_numpy(array).cuda() for array in (boxes, scores, ids.astype(np.int64))]

        def loop(theirs=theirs, places=places):
            return [torchvision.ops.batched_nms(*image, 0.7)[:places] for image in zip(*theirs, strict=True)]

        expected = [kept.cpu().numpy() for kept in loop()]
        times = {}
        for method in METHODS if places == 1000 else METHODS[:1]:
            numbers = [0.7, -1.0, places, -1, 0, 0.5, METHODS.index(method)]
            times[method] = our_milliseconds(device, "batched_nms", [*arrays, *made], numbers)
            if method == "hard":
                found, count = made[3].numpy(), made[4].numpy()
                differ = [len(np.setxor1d(found[i, : count[i]], expected[i])) for i in range(images)]
        what = f"batched NMS {images} x {rows}, {classes} classes, {places} places"
        yield Race(
            what,
            times.pop("hard"),
            {"torchvision, image by image": torch_milliseconds(loop)},
            {"torchvision, image by image": 3.0},
            off=float(sum(differ) / sum(map(len, expected))),
        )
        for method, milliseconds in times.items():
            yield Race(f"{what}, {method}", milliseconds)
