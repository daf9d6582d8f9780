"""Small trees in the layouts of published data sets: two training pairs and one of validation at least."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from kseg.data import VOC

SIZE = (6, 8)


def image(path: Path, value: int = 9, size=SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)
    return path


def mask(path: Path, values, mode: str = "L") -> Path:
    """A mask whose first pixels are `values` and whose others repeat the last of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.asarray(values, np.uint8)
    flat = np.concatenate([values, np.repeat(values[-1:], SIZE[0] * SIZE[1] - len(values), 0)])
    picture = Image.fromarray(flat.reshape(*SIZE, *values.shape[1:]))
    if mode == "P":
        picture.putpalette([channel for colour in VOC.palette for channel in colour])
    picture.save(path)
    return path


def cityscapes(root: Path) -> Path:
    for split, name, ids in (
        ("train", "aachen_000000_000019", range(34)),
        ("train", "bochum_000001_000019", [7, 255]),
        ("val", "lindau_000000_000019", [26, 33, 0]),
    ):
        city = name.split("_")[0]
        image(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png")
        truth = root / "gtFine" / split / city
        mask(truth / f"{name}_gtFine_labelIds.png", list(ids))
        mask(truth / f"{name}_gtFine_color.png", [[128, 64, 128]])  # lies beside in the archive, and is no label
    return root


def voc(root: Path) -> Path:
    for name, values in (("2007_000032", [0, 1, 20, 255]), ("2007_000039", [15]), ("2007_000042", [7, 255])):
        image(root / "JPEGImages" / f"{name}.jpg")
        mask(root / "SegmentationClass" / f"{name}.png", values, "P")
    image(root / "JPEGImages" / "2008_000001.jpg")  # for detection only: in no list
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2007_000039\n2007_000032\n")
    (lists / "val.txt").write_text("2007_000042\n\n")
    return root


def ade20k(root: Path) -> Path:
    for split, name, values in (
        ("training", "ADE_train_00000001", [0, 1, 150]),
        ("training", "ADE_train_00000002", [2]),
        ("validation", "ADE_val_00000001", [13, 0]),
    ):
        image(root / "images" / split / f"{name}.jpg")
        mask(root / "annotations" / split / f"{name}.png", values)
    return root


def camvid(root: Path) -> Path:
    for split, name, values in (
        ("train", "0001TP_006690", range(12)),
        ("train", "0006R0_f00930", [3]),
        ("val", "0016E5_07959", [8, 11]),
    ):
        image(root / split / f"{name}.png")
        mask(root / f"{split}annot" / f"{name}.png", list(values))
    return root


def original_camvid(root: Path) -> Path:
    for name, colours in (
        ("0001TP_006690", [[128, 128, 128], [0, 128, 64], [128, 0, 192], [0, 0, 0], [192, 0, 192]]),
        ("0001TP_008550", [[128, 64, 128]]),
        ("0006R0_f00930", [[128, 64, 128]]),
        ("0016E5_07920", [[128, 64, 128]]),
        ("0016E5_07959", [[64, 0, 128]]),
        ("0016E5_08190", [[128, 64, 128]]),
        ("Seq05VD_f00000", [[128, 64, 128]]),
    ):
        image(root / "701_StillsRaw_full" / f"{name}.png")
        mask(root / "LabeledApproved_full" / f"{name}_L.png", colours)
    return root


def coco_stuff(root: Path) -> Path:
    for split, name, values in (
        ("train2017", "000000000009", [0, 10, 12, 181, 255]),
        ("train2017", "000000000025", [91]),
        ("val2017", "000000000139", [2]),
    ):
        image(root / split / f"{name}.jpg")
        mask(root / "stuffthingmaps_trainval2017" / split / f"{name}.png", values)
    return root
