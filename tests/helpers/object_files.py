"""A folder of pictures of bright squares with annotations in COCO's format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 12


def write_squares(root: Path, count: int, size: tuple[int, int] = (48, 64), seed: int = 0) -> Path:
    """Writes `root/images/*.png`, two squares on each, and `root/instances.json`; ids of images begin at 100.

    Categories 4, "bright", and 9, "dark", one square of each.
    """
    (root / "images").mkdir(parents=True)
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    for index in range(count):
        image = rng.integers(90, 130, (*size, 3)).astype(np.uint8)
        name = f"square{index:02d}.png"
        images.append({"id": 100 + index, "file_name": name, "height": size[0], "width": size[1]})
        for number, (category, value) in enumerate(((4, 250), (9, 10))):
            # Each in its half of the image.
            x = int(rng.integers(0, size[1] // 2 - SIDE)) + number * size[1] // 2
            y = int(rng.integers(0, size[0] - SIDE))
            image[y : y + SIDE, x : x + SIDE] = value
            corners = [x, y, x + SIDE, y, x + SIDE, y + SIDE, x, y + SIDE]
            entry = {"id": len(annotations) + 1, "image_id": 100 + index, "category_id": category, "iscrowd": 0}
            annotations.append(entry | {"segmentation": [corners], "bbox": [x, y, SIDE, SIDE], "area": SIDE**2})
        Image.fromarray(image).save(root / "images" / name)
    categories = [{"id": 4, "name": "bright"}, {"id": 9, "name": "dark"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "instances.json").write_text(json.dumps(content))
    return root
