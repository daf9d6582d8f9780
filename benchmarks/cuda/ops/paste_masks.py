"""paste_masks on a GPU: both modes; dense, packed and run lengths."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.boxes import random_boxes
from benchmarks.cuda.case import FLOATS, Case
from benchmarks.cuda.device import Device, convert, to_float
from benchmarks.cuda.race import Race, our_milliseconds, torch_milliseconds

MODES = ("detectron2", "torchvision")
OUTPUTS = ("dense", "packed", "rle")


def cases(seed: int) -> list[Case]:
    """Every dtype, mode and output; rows of any alignment, boxes of all kinds, no boxes, no pixels."""
    generator = np.random.default_rng(seed)
    made = []
    for mode in MODES:
        for output in OUTPUTS:
            for dtype in FLOATS:
                made.append(_case("boxes", dtype, *_inputs(generator, 12, 7), (37, 61), 0.5, mode, output))
            masks, boxes = _inputs(generator, 9, 28)
            made += [
                _case("32 columns", "float32", masks, boxes, (40, 64), 0.3, mode, output),
                _case("one column", "float32", masks, boxes, (19, 1), 0.5, mode, output),
                _case("several tiles", "float32", masks[:2], boxes[:2] * 40, (3, 2100), 0.5, mode, output),
                _case("no masks", "float32", masks[:0], boxes[:0], (5, 6), 0.5, mode, output),
                _case("no rows", "float32", masks, boxes, (0, 6), 0.5, mode, output),
                _case("empty masks", "float32", masks[:, :0], boxes, (5, 9), 0.5, mode, output),
                _case("NaN", "float32", np.where(masks > 0.9, np.nan, masks), boxes, (21, 33), 0.5, mode, output),
            ]
    return made


def _inputs(generator: np.random.Generator, count: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    masks = generator.uniform(0, 1, (count, side, side)).astype(np.float32)
    corners = generator.uniform(-10, 50, (count, 2))
    boxes = np.concatenate([corners, corners + np.exp(generator.uniform(-1, 4, (count, 2)))], 1).astype(np.float32)
    boxes[:8] = [
        [0, 0, 61, 37],
        [-200, -100, 300, 200],
        [100, 100, 120, 120],  # outside
        [5, 5, 5, 9],  # empty
        [9, 9, 3, 2],  # inverted
        [np.nan, 0, 5, 5],
        [0, 0, np.inf, 5],
        [-1e30, -1e30, 1e30, 1e30],
    ]
    return masks, boxes


def _case(what, dtype, masks, boxes, size, threshold, mode, output) -> Case:
    values = convert(masks, dtype)
    height, width = size
    if output == "rle":
        room = len(masks) * (height * width + 1)
        outputs = [np.zeros(room, np.int32), np.zeros(len(masks) + 1, np.int64)]
    else:
        outputs = [np.zeros((len(masks), height, width if output == "dense" else -(-width // 8)), np.uint8)]

    def expected():
        import kseg_ops

        with kseg_ops.use_reference():
            pasted = kseg_ops.paste_masks(to_float(values), boxes, size, threshold, mode, output)
        if output != "rle":
            return [pasted.numpy()]
        counts = pasted.flat_values.numpy()
        # Places behind the runs become -1.
        return [np.pad(counts, (0, room - len(counts)), constant_values=-1), pasted.row_splits.numpy()]

    return Case(
        name=f"paste_masks/{dtype}, {mode}, {output}, {what}",
        launcher="paste_masks_rle" if output == "rle" else "paste_masks",
        inputs=[values, boxes],
        outputs=outputs,
        expected=expected,
        tolerance=[0] * len(outputs),
        numbers=[mode == "torchvision", threshold, *size, output != "dense"],
    )


def races(device: Device) -> Iterator[Race]:
    """100 masks of 28 x 28 into an image of 800 x 1216."""
    import torch
    from torchvision.models.detection.roi_heads import paste_masks_in_image

    generator = np.random.default_rng(0)
    count, size = 100, (800, 1216)
    masks = generator.uniform(0, 1, (count, 28, 28)).astype(np.float32)
    boxes = random_boxes(count, *size)
    values, corners = torch.from_numpy(masks[:, None]).cuda(), torch.from_numpy(boxes).cuda()

    def theirs():
        return paste_masks_in_image(values, corners, size)[:, 0] > 0.5

    for output, row in (("dense", size[1]), ("packed", size[1] // 8)):
        pasted = device.empty(np.zeros((count, size[0], row), np.uint8))
        arrays = [device.array(masks), device.array(boxes), pasted]
        ours = our_milliseconds(device, "paste_masks", arrays, [1, 0.5, *size, output == "packed"])
        dense = pasted.numpy() if output == "dense" else np.unpackbits(pasted.numpy(), axis=-1, bitorder="little")
        yield Race(
            f"paste {count} masks 28x28 into {size[0]}x{size[1]}, {output}",
            ours,
            {"torchvision": torch_milliseconds(theirs, 3)},
            {"torchvision": 10.0},
            least_bytes=pasted.bytes,
            off=float((dense != theirs().cpu().numpy()).mean()),
        )
    # Run lengths, with the wait for their number; torchvision stops at the pixels.
    runs = [device.empty(np.zeros(1 << 22, np.int32)), device.empty(np.zeros(count + 1, np.int64))]
    arrays = [device.array(masks), device.array(boxes), *runs]
    ours = our_milliseconds(device, "paste_masks_rle", arrays, [1, 0.5, *size, 1])
    yield Race(
        f"paste {count} masks 28x28 into {size[0]}x{size[1]}, run lengths",
        ours,
        {"torchvision": torch_milliseconds(theirs, 3)},
    )
