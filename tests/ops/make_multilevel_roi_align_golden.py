"""Records what torchvision's pooler of pyramids answers: `python tests/ops/make_multilevel_roi_align_golden.py [FILE]`.

Two things: the levels that its LevelMapper gives to areas around every step of the rule, and outputs and gradients of
MultiScaleRoIAlign. Needs torchvision. Inputs are made by arithmetic that is the same everywhere.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

FILE = Path(__file__).parent / "data" / "multilevel_roi_align_torchvision.npz"

# (canonical_size, canonical_level) -> recorded as levels_<index>.
RULES = ((224, 4), (224, 5), (100, 3), (56, 0), (333.3, 7), (1, 2))
# How many float32 numbers on either side of each step are asked for.
ULPS = 40
OUTPUT_SIZE = (3, 2)
SAMPLING_RATIOS = (2, 0)


def inputs() -> dict[str, np.ndarray]:
    """A pyramid `P2..P5` over an image of 512 x 640, and boxes `[2, 10, 4]` with areas on both sides of the steps."""
    arrays = {}
    for level in range(2, 6):
        shape = (2, 512 >> level, 640 >> level, 3)
        index = np.arange(np.prod(shape))
        arrays[f"P{level}"] = ((index * 7919 % 1009) / 1009 - 0.5).astype(np.float32).reshape(shape)
    sides = np.array([112, 224, 448], np.float32)
    square = [
        [8 + side / 16, 4, 8 + side / 16 + side + change, 4 + side] for side in sides for change in (-0.125, 0, 0.125)
    ]
    other = [[3, 5, 20, 9], [0, 0, 640, 512], [600.5, 480.25, 650, 530], [100, 50, 420, 420]]
    other += [[10.25, 20.5, 230.125, 200], [300, 300, 300.5, 300.25]]
    other += [[-30, -20, 300, 250], [-5, 100, 90, 110.5]]
    other += [[0, 0, 112, 448], [0, 0, 448, 112], [17, 31, 241, 143]]
    arrays["boxes"] = np.array([*square, *other], np.float32).reshape(2, 10, 4)
    return arrays


def areas_around_steps(canonical_size: float, canonical_level: int) -> np.ndarray:
    """`2 * ULPS + 1` areas around where the exact rule steps from level to level, and where its 1e-6 moves that to."""
    areas = []
    for level in range(canonical_level - 5, canonical_level + 6):
        exact = (canonical_size * 2.0 ** (level - canonical_level)) ** 2
        for step in (exact, exact * 2.0 ** (-2e-6)):
            bits = np.float32(step).view(np.int32) + np.arange(-ULPS, ULPS + 1, dtype=np.int32)
            areas.append(bits.view(np.float32))
    return np.concatenate(areas)


def answers(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What torchvision makes of the inputs, channels last.

    For the areas `levels_<rule>`, and `sides_<rule>`, its square roots; for the pyramid `pooled_<ratio>` and
    `gradient_<ratio>_P<n>`.
    """
    import torch
    from torchvision.ops import MultiScaleRoIAlign
    from torchvision.ops.poolers import LevelMapper

    result = {}
    for index, (size, level) in enumerate(RULES):
        areas = areas_around_steps(size, level)
        boxes = np.stack([0 * areas, 0 * areas, areas, 0 * areas + 1], 1)
        result[f"sides_{index}"] = torch.sqrt(torch.from_numpy(areas)).numpy()
        mapper = LevelMapper(0, 30, canonical_scale=size, canonical_level=level)
        result[f"levels_{index}"] = mapper([torch.from_numpy(boxes)]).numpy().astype(np.int8)
    names = [f"P{level}" for level in range(2, 6)]
    for ratio in SAMPLING_RATIOS:
        pooler = MultiScaleRoIAlign(names, OUTPUT_SIZE, ratio or -1)
        features = {name: torch.tensor(arrays[name].transpose(0, 3, 1, 2), requires_grad=True) for name in names}
        pooled = pooler(features, [torch.from_numpy(boxes) for boxes in arrays["boxes"]], [(512, 640)] * 2)
        recorded = pooled.detach().numpy().transpose(0, 2, 3, 1)
        result[f"pooled_{ratio}"] = recorded.reshape(*arrays["boxes"].shape[:2], *OUTPUT_SIZE, 3)
        pooled.backward(torch.from_numpy(upstream(recorded.shape).transpose(0, 3, 1, 2).copy()))
        for name in names[1:]:  # P2 is large; the others tell as much
            result[f"gradient_{ratio}_{name}"] = features[name].grad.numpy().transpose(0, 2, 3, 1)
    return result


def upstream(shape: tuple[int, ...]) -> np.ndarray:
    """A gradient of the output without symmetry."""
    return np.cos(np.arange(np.prod(shape))).astype(np.float32).reshape(shape)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    target.parent.mkdir(parents=True, exist_ok=True)
    made = inputs()
    np.savez_compressed(target, boxes=made["boxes"], **answers(made))
