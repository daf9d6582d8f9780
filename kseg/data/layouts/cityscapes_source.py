"""Cityscapes."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from kseg.data.argument_checks import check_flag
from kseg.data.layouts.class_table import table_of
from kseg.data.layouts.layout_source import VOID, LayoutSource, batches, chosen, pair_folders, require_folders

CITYSCAPES = table_of(
    """804080 road, f423e8 sidewalk, 464646 building, 66669c wall, be9999 fence, 999999 pole, faaa1e traffic light,
    dcdc00 traffic sign, 6b8e23 vegetation, 98fb98 terrain, 4682b4 sky, dc143c person, ff0000 rider, 00008e car,
    000046 truck, 003c64 bus, 005064 train, 0000e6 motorcycle, 770b20 bicycle"""
)

# The label ids of the 19 classes, in their order. The other ids up to 33, and -1 (255 in 8 bits), are void.
_LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)

_LABELS = {
    "labelIds": (
        {**dict.fromkeys(range(34), VOID), **{number: train for train, number in enumerate(_LABEL_IDS)}},
        "Cityscapes label ids, 0..33 in one channel",
        "labelIds files are part of the archives gtFine_trainvaltest.zip and gtCoarse.zip.",
    ),
    "labelTrainIds": (
        {number: number for number in range(19)},
        "Cityscapes train ids, 0..18 and 255 in one channel",
        "labelTrainIds files are not in the archives: csCreateTrainIdLabelImgs of cityscapesscripts makes them. Or "
        "pass labels='labelIds', which needs none.",
    ),
}
_FINE = {"train": "train", "val": "val", "test": "test"}
_COARSE = {"train": "train", "val": "val", "train_extra": "train_extra"}


class CityscapesSource(LayoutSource):
    """Cityscapes: street scenes of 50 cities, 1024x2048, 19 classes (Cordts et al. 2016).

    Layout, as the archives unpack (2975 training, 500 validation and 1525 test images)::

        root/
          leftImg8bit/
            train/aachen/aachen_000000_000019_leftImg8bit.png      also val/, test/ and train_extra/
          gtFine/
            train/aachen/aachen_000000_000019_gtFine_labelIds.png  also val/ and test/
          gtCoarse/
            train_extra/augsburg/augsburg_000000_000000_gtCoarse_labelIds.png

    The 34 label ids become the 19 classes of the benchmark (`kseg.data.CITYSCAPES`) and void, 255. The published test
    masks are void almost everywhere: the benchmark's server keeps the true ones.

    Args:
        root: the folder that holds leftImg8bit and gtFine (or gtCoarse).
        split: "train", "val" or "test"; with `coarse` "train", "val" or "train_extra".
        coarse: take the polygons of gtCoarse.
        labels: "labelIds", or "labelTrainIds" where csCreateTrainIdLabelImgs was run.
        channels: 3 for RGB, 1 for luminance.

    Raises:
        DataError: another layout, a missing mask, a value that is no id; names the file and the fix.
        ValueError: no such split or labels.

    Example:
        >>> source = kseg.data.CityscapesSource("data/cityscapes", split="val")
        >>> source.class_names[13]
        'car'
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        coarse: bool = False,
        labels: str = "labelIds",
        channels: int = 3,
    ):
        check_flag("coarse", coarse)
        truth = "gtCoarse" if coarse else "gtFine"
        chosen("split", split, _COARSE if coarse else _FINE, f"Cityscapes with coarse={coarse}")
        mask_values, expected, fix = chosen("labels", labels, _LABELS, "Cityscapes")
        root = require_folders(root, (f"leftImg8bit/{split}", f"{truth}/{split}"), "Cityscapes")
        pairs = pair_folders(
            root / "leftImg8bit" / split,
            root / truth / split,
            image_suffix="_leftImg8bit",
            mask_suffix=f"_{truth}_{labels}",
            pattern="*/*",
            fix=fix,
        )
        super().__init__(pairs, CITYSCAPES, mask_values, expected, channels)


def from_cityscapes(
    root: str | Path,
    batch_size: int = 8,
    *,
    split: str = "train",
    coarse: bool = False,
    labels: str = "labelIds",
    channels: int = 3,
    check: bool = False,
    **options,
) -> tf.data.Dataset:
    """A `tf.data.Dataset` of (image, label) batches of Cityscapes.

    Args:
        root: the folder that holds leftImg8bit and gtFine; drawn at `kseg.data.CityscapesSource`.
        batch_size: samples per batch.
        split: "train", "val" or "test"; with `coarse` "train", "val" or "train_extra".
        coarse: take the polygons of gtCoarse.
        labels: "labelIds", or "labelTrainIds" where csCreateTrainIdLabelImgs was run.
        channels: 3 for RGB, 1 for luminance.
        check: read every file once before, and raise one error with every problem. Off, because a published set is
            large; the files are paired, and their headers read, in any case.
        **options: of `kseg.data.pipeline`: size, crop_size, random_crop, augment, weights, shuffle, seed, cache, ...

    Returns:
        Data set of (image float32 `(B, H, W, channels)` of 0..255, label int32 `(B, H, W)` of 0..18 and 255).

    Raises:
        DataError, ValueError: as `kseg.data.CityscapesSource`.

    Example:
        >>> train = kseg.data.from_cityscapes("data/cityscapes", 4, crop_size=(512, 1024), shuffle=True)
        >>> model = kseg.UNet(19, class_names=kseg.data.CITYSCAPES.names)
    """
    source = CityscapesSource(root, split, coarse=coarse, labels=labels, channels=channels)
    return batches(source, batch_size, check, options)
