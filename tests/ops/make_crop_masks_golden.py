"""Makes tests/ops/data/crop_masks_torchvision.npz: what torchvision answers on fixed masks and boxes.

`python tests/ops/make_crop_masks_golden.py`, in an environment with torchvision.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

FILE = Path(__file__).parent / "data" / "crop_masks_torchvision.npz"
SIZE = 14


def inputs() -> dict[str, np.ndarray]:
    """Discs, half planes and noise, and boxes of all kinds around them."""
    random = np.random.default_rng(0)
    height, width = 67, 91
    y, x = np.mgrid[:height, :width]
    masks = [np.hypot(y - a, x - b) < r for a, b, r in ((30, 40, 25), (60, 5, 30), (10, 80, 8))]
    masks += [x < 45, (x + 2 * y) % 7 < 3, random.random((height, width)) < 0.5]
    corners = random.uniform(-20, 70, (60, 2))
    boxes = np.concatenate([corners, corners + np.exp(random.uniform(-1, 5, (60, 2)))], 1)
    boxes[::3] = np.round(boxes[::3])
    return {
        "masks": np.stack(masks).astype(np.uint8),
        "boxes": boxes.astype(np.float32),
        "mask_indices": random.integers(0, len(masks), 60).astype(np.int32),
    }


def answers(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The targets of torchvision's Mask R-CNN, and RoIAlign as detectron2 calls it on masks."""
    import torch
    import torchvision
    from torchvision.models.detection.roi_heads import project_masks_on_boxes

    masks, boxes, indices = (torch.from_numpy(given[name]) for name in ("masks", "boxes", "mask_indices"))
    rois = torch.cat([indices[:, None].to(boxes), boxes], dim=1)
    return {
        "projected": project_masks_on_boxes(masks, boxes, indices, SIZE).numpy(),
        "aligned": torchvision.ops.roi_align(masks[:, None].float(), rois, SIZE, 1.0, 0, aligned=True)[:, 0].numpy(),
    }


if __name__ == "__main__":
    made = inputs()
    FILE.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(FILE, **made, **answers(made))
