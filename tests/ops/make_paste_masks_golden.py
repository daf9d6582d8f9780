"""Records what torch answers for pasted masks: `python tests/ops/make_paste_masks_golden.py [FILE]`.

Needs torch and torchvision, on a processor with fused multiply-add. torchvision's function is called itself. detectron2
is not on the package index; `detectron2_paste` below is its `paste_masks_in_image` on a CPU written out anew: the grid
by its formula, sampled by torch's `grid_sample`. Boxes that the originals cannot paste, those outside of the image,
count as pasted nowhere. Inputs are made by arithmetic that is the same everywhere; the answers are written as bits.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np

FILE = Path(__file__).parent / "data" / "paste_masks_torch.npz"
IMAGE = (61, 83)
# Name -> size of the masks, threshold.
SETTINGS = {
    "28": ((28, 28), 0.5),
    "14": ((14, 14), 0.3),
    "9x16": ((9, 16), 0.5),
    "1": ((1, 1), 0.5),
    "binary": ((7, 7), 0.5),
}


def boxes() -> np.ndarray:
    """Inside, across the borders, tiny, huge, fractional and whole."""
    index = np.arange(24)
    x = (index * 37 % 71) + (index % 8) / 8
    y = (index * 29 % 53) + (index % 5) / 5
    sides = np.stack([3 + index * 53 % 61, 2 + index * 31 % 47], 1) + np.stack([index % 7 / 7, index % 3 / 3], 1)
    ordinary = np.stack([x - 5, y - 5, x - 5 + sides[:, 0], y - 5 + sides[:, 1]], 1)
    special = [
        [0, 0, 83, 61],
        [10, 10, 11, 11],
        [10.25, 10.25, 10.75, 10.5],
        [20.5, 7.5, 48.5, 35.5],
        [3, 4, 31, 32],
        [-300.5, -200.25, 400.75, 300.125],
        [-900, 20, 1100, 30],
        [40, -700, 43, 900],
        [70.3, 50.7, 95.2, 77.7],
        [-20.4, -15.9, 12.3, 9.9],
        [0.5, 0.5, 64.5, 62.5],
        [1, 1, 62, 62.9],
        [30, 20, 30, 40],
        [30, 20, 30.0001, 40],
    ]
    return np.concatenate([ordinary, np.array(special)]).astype(np.float32)


def masks(name: str) -> np.ndarray:
    """One mask per box, values within 0..1; of 0 and 1 only under "binary"."""
    height, width = SETTINGS[name][0]
    index = np.arange(len(boxes()) * height * width)
    values = (index * 7919 % 1009) / 1009
    if name == "binary":
        values = np.round(values)
    return values.astype(np.float32).reshape(-1, height, width)


def detectron2_paste(masks, boxes, image_size, threshold) -> np.ndarray:
    """uint8 `[N, H, W]`."""
    import torch

    height, width = image_size
    pasted = np.zeros((len(masks), height, width), np.uint8)
    for index, (mask, (x1, y1, x2, y2)) in enumerate(zip(masks, boxes, strict=True)):
        left, right = max(math.floor(x1) - 1, 0), min(math.ceil(x2) + 1, width)
        top, bottom = max(math.floor(y1) - 1, 0), min(math.ceil(y2) + 1, height)
        if left >= right or top >= bottom:
            continue
        half, one, two = (np.float32(value) for value in (0.5, 1, 2))
        with np.errstate(divide="ignore", invalid="ignore"):
            x = (np.arange(left, right).astype(np.float32) + half - x1) / (x2 - x1) * two - one
            y = (np.arange(top, bottom).astype(np.float32) + half - y1) / (y2 - y1) * two - one
        grid = torch.from_numpy(np.stack(np.broadcast_arrays(x[None, :], y[:, None]), -1))[None]
        sampled = torch.nn.functional.grid_sample(torch.from_numpy(mask)[None, None], grid, align_corners=False)
        pasted[index, top:bottom, left:right] = sampled[0, 0].numpy() >= np.float32(threshold)
    return pasted


def torchvision_paste(masks, boxes, image_size, threshold) -> np.ndarray:
    """uint8 `[N, H, W]`."""
    import torch
    from torchvision.models.detection.roi_heads import paste_masks_in_image

    pasted = np.zeros((len(masks), *image_size), np.uint8)
    for index in range(len(masks)):
        one = slice(index, index + 1)
        try:
            found = paste_masks_in_image(
                torch.from_numpy(masks[one])[:, None], torch.from_numpy(boxes[one]), image_size
            )
        except RuntimeError:  # its slices do not match outside of the image
            continue
        pasted[index] = (found[0, 0] > threshold).numpy()
    return pasted


def answers() -> dict[str, np.ndarray]:
    """Per setting and mode the pixels, packed."""
    result = {"boxes": boxes()}
    for name, (_, threshold) in SETTINGS.items():
        for mode, paste in (("detectron2", detectron2_paste), ("torchvision", torchvision_paste)):
            pasted = paste(masks(name), boxes(), IMAGE, threshold)
            result[f"{mode}_{name}"] = np.packbits(pasted, axis=-1, bitorder="little")
        result[f"masks_{name}"] = np.array(masks(name).sum(dtype=np.float64))
    return result


if __name__ == "__main__":
    np.savez_compressed(Path(sys.argv[1]) if len(sys.argv) > 1 else FILE, **answers())
