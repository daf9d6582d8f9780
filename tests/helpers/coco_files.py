"""Small data sets in COCO's format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

SQUARE = [[2, 2, 6, 2, 6, 6, 2, 6]]
CATEGORIES = ((3, "cat"), (7, "dog"))


def image_entry(number: int, height: int = 12, width: int = 16, **changes) -> dict:
    """An entry of "images"; its file is `im<number>.png`."""
    return {"id": number, "file_name": f"im{number}.png", "height": height, "width": width, **changes}


def annotation_entry(number: int, image: int = 1, category: int = 3, segmentation=SQUARE, **changes) -> dict:
    """An entry of "annotations"."""
    entry = {"id": number, "image_id": image, "category_id": category, "segmentation": segmentation, "iscrowd": 0}
    return {**entry, **changes}


def write_coco(root: Path, images=None, annotations=(), categories=CATEGORIES, files: bool = True):
    """Writes `root/images/*.png`, grey noise of the sizes that `images` tells, and `root/instances.json`.

    Returns:
        The folder of the images and the annotation file.
    """
    images = [image_entry(1)] if images is None else list(images)
    folder = root / "images"
    folder.mkdir(exist_ok=True)
    for position, entry in enumerate(images if files else ()):
        noise = np.random.default_rng(position).integers(0, 256, (entry["height"], entry["width"], 3), np.uint8)
        Image.fromarray(noise).save(folder / entry["file_name"])
    content = {
        "images": images,
        "annotations": list(annotations),
        "categories": [{"id": number, "name": name} for number, name in categories],
    }
    path = root / "instances.json"
    path.write_text(json.dumps(content))
    return folder, path
