"""Small image files for the tests of kseg.data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image


def write_png16(path: Path, array: np.ndarray) -> Path:
    """A PNG of 16 bits per channel: uint16 `(H, W, C)` with 1 to 4 channels."""
    path.write_bytes(tf.io.encode_png(tf.constant(array, tf.uint16)).numpy())
    return path


def write_pair(root: Path, stem: str, image: np.ndarray, mask: np.ndarray, suffix: str = "") -> tuple[Path, Path]:
    """`root/images/stem.png` and `root/masks/stem+suffix.png` from uint8 arrays."""
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True, exist_ok=True)
    image_path, mask_path = root / "images" / f"{stem}.png", root / "masks" / f"{stem}{suffix}.png"
    Image.fromarray(image).save(image_path)
    Image.fromarray(mask).save(mask_path)
    return image_path, mask_path


def write_folder(root: Path, count: int = 6, size: tuple[int, int] = (12, 16), classes: int = 3) -> Path:
    """A folder of `count` RGB images whose pixels all hold their number, and masks of `classes` vertical stripes."""
    mask = np.broadcast_to(np.arange(size[1]) * classes // size[1], size).astype(np.uint8)
    for number in range(count):
        write_pair(root, f"im{number:02d}", np.full((*size, 3), number, np.uint8), mask)
    return root
