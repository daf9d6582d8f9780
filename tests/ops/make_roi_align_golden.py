"""Records what torchvision's RoIAlign answers: `python tests/ops/make_roi_align_golden.py [FILE]` (needs torchvision).

The inputs are made here, by arithmetic that is the same everywhere, and are written beside the answers. Coordinates are
multiples of 1/8 where a sample could meet the border of the map exactly, so that the answer does not hang on rounding.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

FILE = Path(__file__).parent / "data" / "roi_align_torchvision.npz"

# What is recorded, each with its output_size, spatial_scale, sampling_ratio and aligned.
SETTINGS = {
    "aligned_2": ((3, 3), 1.0, 2, True),
    "legacy_2": ((3, 3), 1.0, 2, False),
    "aligned_adaptive": ((3, 2), 1.0, 0, True),
    "legacy_adaptive": ((2, 3), 0.5, 0, False),
    "aligned_1": ((1, 1), 0.25, 1, True),
    "legacy_3_half": ((2, 4), 0.5, 3, False),
}


def inputs() -> dict[str, np.ndarray]:
    """Feature maps `[2, 7, 9, 3]`, boxes inside, across and beyond them, empty and inverted, and their images."""
    height, width = 7, 9
    index = np.arange(2 * height * width * 3)
    features = ((index * 7919 % 1009) / 1009 - 0.5).astype(np.float32).reshape(2, height, width, 3)
    boxes = np.array(
        [
            [1.25, 0.5, 6.5, 5.75],
            [0, 0, width, height],
            [3, 2, 4, 3],
            [2.375, 2.25, 2.5, 2.375],
            [-3.5, -2.25, 4, 3],
            [5, 3.5, 14, 12],
            [-20, -20, 30, 30],
            [20, 20, 25, 25],
            [4, 2, 4, 5],
            [6.125, 5.25, 2.5, 1.75],
            [-2.5, 1, -0.25, 6],
            [8.25, 6.25, 9.75, 7.5],
        ],
        np.float32,
    )
    return {"features": features, "boxes": boxes, "box_indices": (np.arange(len(boxes)) % 2).astype(np.int32)}


def answers(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Per setting the output, `<name>`, and for `upstream` the gradient, `<name>_gradient`; channels last."""
    import torch
    import torchvision

    result = {}
    for name, (output_size, scale, sampling_ratio, aligned) in SETTINGS.items():
        keep = valid_boxes(arrays["boxes"], sampling_ratio)
        boxes = np.concatenate([arrays["box_indices"][:, None], arrays["boxes"]], 1)[keep].astype(np.float32)
        features = torch.tensor(arrays["features"].transpose(0, 3, 1, 2), requires_grad=True)
        pooled = torchvision.ops.roi_align(
            features, torch.from_numpy(boxes), output_size, scale, sampling_ratio or -1, aligned
        )
        result[name] = pooled.detach().numpy().transpose(0, 2, 3, 1)
        pooled.backward(torch.from_numpy(upstream(result[name].shape).transpose(0, 3, 1, 2).copy()))
        result[f"{name}_gradient"] = features.grad.numpy().transpose(0, 2, 3, 1)
    return result


def valid_boxes(boxes: np.ndarray, sampling_ratio: int) -> np.ndarray:
    """With adaptive sampling torchvision's CPU operator fails on a box that is inverted."""
    upright = (boxes[:, 2] >= boxes[:, 0]) & (boxes[:, 3] >= boxes[:, 1])
    return upright | (sampling_ratio > 0)


def upstream(shape: tuple[int, ...]) -> np.ndarray:
    """A gradient of the output without symmetry."""
    return np.cos(np.arange(np.prod(shape))).astype(np.float32).reshape(shape)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    target.parent.mkdir(parents=True, exist_ok=True)
    made = inputs()
    np.savez_compressed(target, **made, **answers(made))
