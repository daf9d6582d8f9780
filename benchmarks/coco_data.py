"""`python -m benchmarks.coco_data`: images per second of `kseg.data.from_coco`, beside torchvision's reader.

Both read the same drawn photographs (JPEG 480x640, ten polygons each), resize them to 800x1067 with their masks, and
make batches of two; each side runs in a process of its own, in turn, with as many workers as there are CPUs.
torchvision (`CocoDetection`, `wrap_dataset_for_transforms_v2`, `v2.RandomShortestSize`, a `DataLoader`) hands over
lists of dense masks that are not padded, kseg packed and padded ones.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

_SIZE = (480, 640)
_OBJECTS = 10


def write_data(root: Path, count: int) -> None:
    """Smooth noise as photographs, and polygons of 24 corners."""
    random = np.random.default_rng(0)
    height, width = _SIZE
    images, annotations = [], []
    for number in range(count):
        noise = Image.fromarray(random.integers(0, 256, (height // 8, width // 8, 3), np.uint8))
        noise.resize((width, height), Image.Resampling.BICUBIC).save(root / f"{number}.jpg", quality=90)
        images.append({"id": number, "file_name": f"{number}.jpg", "height": height, "width": width})
        for _ in range(_OBJECTS):
            radius = random.uniform(20, 100) * random.uniform(0.8, 1.2, 24)
            angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
            centre = random.uniform((0, 0), (width, height))
            points = np.clip(centre + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1), 0, (width, height))
            low, high = points.min(0), points.max(0)
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": 1 + len(annotations) % 3,
                    "segmentation": [points.round(2).ravel().tolist()],
                    "bbox": [*low.tolist(), *(high - low).tolist()],
                    "area": float(np.prod(high - low)),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": number, "name": f"class {number}"} for number in (1, 2, 3)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "instances.json").write_text(json.dumps(content))


def rate(batches: Iterable, passes: int) -> float:
    """Images per second, after a pass that warms up."""
    for _ in batches:
        pass
    count, started = 0, time.perf_counter()
    for _ in range(passes):
        for images, _ in batches:
            count += len(images)
    return count / (time.perf_counter() - started)


def kseg_side(root: Path, passes: int) -> dict[str, float]:
    """Images per second by setting."""
    import kseg

    source = kseg.data.CocoSource(root, root / "instances.json")
    augments = {
        "as it is": None,
        "flip": kseg.data.InstanceAugment(flip="horizontal"),
        "flip, scale 0.8-1.25": kseg.data.InstanceAugment(flip="horizontal", scale=(0.8, 1.25)),
        "flip, scale 0.1-2, copy-paste 0.5": kseg.data.InstanceAugment(
            flip="horizontal", scale=(0.1, 2.0), copy_paste=0.5
        ),
    }
    return {
        f"kseg, {name}": rate(
            kseg.data.instance_pipeline(source, 2, min_side=800, max_side=1333, augment=augment, shuffle=True), passes
        )
        for name, augment in augments.items()
    }


def torchvision_side(root: Path, passes: int) -> dict[str, float]:
    """Images per second of the peer."""
    import torch
    from torchvision import datasets
    from torchvision.transforms import v2

    transforms = v2.Compose([v2.ToImage(), v2.RandomShortestSize([800], max_size=1333), v2.RandomHorizontalFlip()])
    data = datasets.CocoDetection(root, root / "instances.json", transforms=transforms)
    data = datasets.wrap_dataset_for_transforms_v2(data, target_keys=["boxes", "labels", "masks"])
    loader = torch.utils.data.DataLoader(
        data,
        2,
        shuffle=True,
        num_workers=os.cpu_count(),
        collate_fn=lambda samples: tuple(zip(*samples, strict=True)),
        persistent_workers=True,
    )
    return {"torchvision, flip": rate(loader, passes)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--side", choices=["kseg", "torchvision"], help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        side = kseg_side if arguments.side == "kseg" else torchvision_side
        print(json.dumps(side(arguments.root, arguments.passes)))
        return
    sides = ["kseg"] + (["torchvision"] if importlib.util.find_spec("torchvision") else [])
    with tempfile.TemporaryDirectory() as root:
        write_data(Path(root), arguments.images)
        for side in sides:
            command = [sys.executable, "-m", "benchmarks.coco_data", "--side", side, "--root", root]
            output = subprocess.run(
                [*command, "--passes", str(arguments.passes)], check=True, text=True, stdout=subprocess.PIPE
            ).stdout
            for name, value in json.loads(output.splitlines()[-1]).items():
                print(f"{name:40s} {value:6.1f} images/s")


if __name__ == "__main__":
    main()
