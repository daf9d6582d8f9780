"""Records what torchvision keeps: `python tests/ops/make_nms_golden.py [FILE]` (needs torchvision).

The inputs are made here, by integer arithmetic that is the same everywhere, and are written beside the answers. Corners
are multiples of 1/4, so that IoUs repeat and ties of scores occur.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

FILE = Path(__file__).parent / "data" / "nms_torchvision.npz"

# No IoU of the inputs lies between a threshold and its float32: torchvision compares with the double, kseg with that.
THRESHOLDS = (0.0, 0.25, 0.375, 0.5, 0.7, 0.9, 1.0)


def inputs() -> dict[str, np.ndarray]:
    """Boxes `[400, 4]` in clusters, scores of 100 different values, and classes 0..4."""
    index = np.arange(400)
    noise = [(index * step) % modulus for step, modulus in ((7919, 97), (6841, 89), (4447, 41), (3323, 43))]
    corners = np.stack([index % 17 * 20 + noise[0] / 4, index % 13 * 18 + noise[1] / 4], 1)
    sizes = np.stack([8 + noise[2] / 4, 6 + noise[3] / 4], 1) * (1 + index % 3)[:, None]
    scores = (index * 5569 % 101 / 101).astype(np.float32)
    boxes = np.concatenate([corners, corners + sizes], 1).astype(np.float32)
    return {"boxes": boxes, "scores": scores, "class_ids": (index % 5).astype(np.int32)}


def answers(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Kept indices: `all_<threshold>`, and `classes_<threshold>` class by class, merged by score and index."""
    import torch
    from torchvision.ops import nms

    boxes, scores = torch.from_numpy(arrays["boxes"]), torch.from_numpy(arrays["scores"])
    result = {}
    for threshold in THRESHOLDS:
        kept = nms(boxes, scores, threshold).numpy()
        # Its sort is stable today; that is not promised.
        result[f"all_{threshold}"] = in_order(kept, arrays["scores"])
        by_class = []
        for class_id in np.unique(arrays["class_ids"]):
            rows = np.flatnonzero(arrays["class_ids"] == class_id)
            by_class.append(rows[nms(boxes[rows], scores[rows], threshold).numpy()])
        result[f"classes_{threshold}"] = in_order(np.concatenate(by_class), arrays["scores"])
    return result


def in_order(kept: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return kept[np.lexsort((kept, -scores[kept]))].astype(np.int32)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    target.parent.mkdir(parents=True, exist_ok=True)
    made = inputs()
    np.savez_compressed(target, **made, **answers(made))
