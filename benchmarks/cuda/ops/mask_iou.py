"""mask_iou on a GPU: dense and packed masks, rows of every alignment, boxes, crowds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.cuda.case import Case
from benchmarks.cuda.device import Device
from benchmarks.cuda.race import Race, our_milliseconds, torch_milliseconds


def random_masks(generator: np.random.Generator, count: int, height: int, width: int) -> np.ndarray:
    """Masks uint8 `[count, height, width]`: patches with holes, an empty one, a full one and single pixels."""
    masks = np.zeros((count, height, width), np.uint8)
    for mask in masks:
        top, left = generator.integers(0, height), generator.integers(0, width)
        bottom, right = generator.integers(top, height) + 1, generator.integers(left, width) + 1
        patch = generator.uniform(size=(bottom - top, right - left)) < 0.7
        mask[top:bottom, left:right] = patch * generator.integers(1, 256)
    if count > 4:
        masks[0] = 0
        masks[1] = 200
        masks[2] = 0
        masks[2, -1, -1] = 1
        masks[3] = 0
        masks[3, 0, 0] = 128
    return masks


def random_boxes(generator: np.random.Generator, count: int, height: int, width: int) -> np.ndarray:
    """Boxes float32 `[count, 4]` within the image and beyond it, some of them strange."""
    corners = generator.uniform(-6, [width, height], (count, 2))
    boxes = np.concatenate([corners, corners + generator.uniform(0, [width, height], (count, 2))], 1)
    boxes = boxes.astype(np.float32)
    strange = [
        [-1e30, -np.inf, np.inf, 1e30],
        [np.nan, 0, 5, 5],
        [5, 0, 2, 9],
        [1e-40, 0, 3, 1e-40],
        [width, 0, width + 9, height],
        [1, 0, 32, height],
        [0, 0, 0.25, 0.25],
    ]
    boxes[: len(strange)] = strange[:count]
    return boxes


def packed(masks: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A bit per pixel, with noise behind the last one of each row, which is to be ignored."""
    bits = np.packbits(masks != 0, axis=-1, bitorder="little")
    spare = -masks.shape[-1] % 8
    if spare and bits.size:
        bits[..., -1] |= (generator.integers(0, 256, bits.shape[:-1]) << (8 - spare) & 255).astype(np.uint8)
    return bits


def cases(seed: int) -> list[Case]:
    """Widths around 32, aligned and not, with and without boxes, and without masks or pixels."""
    generator = np.random.default_rng(seed)
    made = []
    for counts, height, width, boxes, same in [
        ((9, 5), 7, 40, (False, False), False),
        ((6, 40), 5, 128, (False, True), False),
        ((12, 12), 23, 101, (True, True), True),
        ((8, 8), 70, 33, (False, False), True),
        ((3, 2), 300, 64, (True, False), False),
        ((2, 3), 0, 10, (True, True), False),
        ((0, 3), 4, 10, (False, False), False),
    ]:
        a = random_masks(generator, counts[0], height, width) if height else np.zeros((counts[0], 0, width), np.uint8)
        b = a if same else (random_masks(generator, counts[1], height, width) if height else a[:1].repeat(counts[1], 0))
        crowd = (generator.uniform(size=len(b)) < 0.3).astype(np.uint8)
        boxes_a = random_boxes(generator, len(a), height, width) if boxes[0] else np.zeros((0, 4), np.float32)
        boxes_b = random_boxes(generator, len(b), height, width) if boxes[1] else np.zeros((0, 4), np.float32)
        for pack in (False, True):
            made.append(
                _case(*(packed(m, generator) if pack else m for m in (a, b)), crowd, boxes_a, boxes_b, width, pack)
            )
    return made


def _case(a, b, crowd, boxes_a, boxes_b, width, pack) -> Case:
    def expected():
        import kseg_ops

        with kseg_ops.use_reference():
            boxes = [boxes if len(boxes) else None for boxes in (boxes_a, boxes_b)]
            return [kseg_ops.mask_iou(a, b, crowd != 0, width if pack else None, *boxes).numpy()]

    return Case(
        name=f"mask_iou/{a.shape} x {len(b)}, width {width}, packed={pack}, {len(boxes_a)} and {len(boxes_b)} boxes",
        launcher="mask_iou",
        inputs=[a, b, crowd, boxes_a, boxes_b],
        outputs=[np.zeros((len(a), len(b)), np.float32)],
        expected=expected,
        tolerance=[0],
        numbers=[width if pack else -1],
    )


def blobs(count: int, height: int, width: int) -> np.ndarray:
    """Ellipses uint8 `[count, height, width]` of the sizes of objects."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    masks = np.empty((count, height, width), np.uint8)
    for mask in masks:
        middle, axes = generator.uniform(0, [height, width]), np.exp(generator.uniform(2, 5, 2))
        mask[:] = ((y - middle[0]) / axes[0]) ** 2 + ((x - middle[1]) / axes[1]) ** 2 < 1
    return masks


def races(device: Device) -> Iterator[Race]:
    """100 x 100 masks of an image, dense and packed, against a product of matrices in half precision."""
    import torch

    count, height, width = 100, 800, 1216
    masks = blobs(count, height, width)
    flat = torch.from_numpy(masks).cuda().flatten(1).half()

    def product():
        common = (flat @ flat.T).float()
        area = flat.float().sum(1)
        return common / (area[:, None] + area - common)

    for pack in (False, True):
        ours = packed(masks, np.random.default_rng(0)) if pack else masks
        arrays = [
            device.array(array)
            for array in (ours, ours, np.zeros(count, np.uint8), *[np.zeros((0, 4), np.float32)] * 2)
        ]
        iou = device.empty(np.zeros((count, count), np.float32))
        milliseconds = our_milliseconds(device, "mask_iou", [*arrays, iou], [width if pack else -1])
        yield Race(
            f"mask IoU of {count} x {count}, {height} x {width}, {'packed' if pack else 'dense'}",
            milliseconds,
            {"torch, masks as float16 beforehand": torch_milliseconds(product)},
            least_bytes=2 * ours.size + 4 * count**2,
        )
