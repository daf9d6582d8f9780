"""ADE20K, as the scene parsing benchmark has it."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from kseg.data.layouts.class_table import table_of
from kseg.data.layouts.layout_source import VOID, LayoutSource, batches, chosen, pair_folders, require_folders

# The first of the names that the benchmark lists for each class, where others have it not.
ADE20K = table_of(
    """787878 wall, b47878 building, 06e6e6 sky, 503232 floor, 04c803 tree, 787850 ceiling, 8c8c8c road, cc05ff bed,
    e6e6e6 windowpane, 04fa07 grass, e005ff cabinet, ebff07 sidewalk, 96053d person, 787846 earth, 08ff33 door,
    ff0652 table, 8fff8c mountain, ccff04 plant, ff3307 curtain, cc4603 chair, 0066c8 car, 3de6fa water,
    ff0633 painting, 0b66ff sofa, ff0747 shelf, ff09e0 house, 0907e6 sea, dcdcdc mirror, ff095c rug, 7009ff field,
    08ffd6 armchair, 07ffe0 seat, ffb806 fence, 0aff47 desk, ff290a rock, 07ffff wardrobe, e0ff08 lamp,
    6608ff bathtub, ff3d06 railing, ffc207 cushion, ff7a08 base, 00ff14 box, ff0829 column, ff0599 signboard,
    0633ff chest of drawers, eb0cff counter, a09614 sand, 00a3ff sink, 8c8c8c skyscraper, fa0a0f fireplace,
    14ff00 refrigerator, 1fff00 grandstand, ff1f00 path, ffe000 stairs, 99ff00 runway, 0000ff case,
    ff4700 pool table, 00ebff pillow, 00adff screen door, 1f00ff stairway, 0bc8c8 river, ff5200 bridge,
    00fff5 bookcase, 003dff blind, 00ff70 coffee table, 00ff85 toilet, ff0000 flower, ffa300 book, ff6600 hill,
    c2ff00 bench, 008fff countertop, 33ff00 stove, 0052ff palm, 00ff29 kitchen island, 00ffad computer,
    0a00ff swivel chair, adff00 boat, 00ff99 bar, ff5c00 arcade machine, ff00ff hovel, ff00f5 bus, ff0066 towel,
    ffad00 light, ff0014 truck, ffb8b8 tower, 001fff chandelier, 00ff3d awning, 0047ff streetlight, ff00cc booth,
    00ffc2 television receiver, 00ff52 airplane, 000aff dirt track, 0070ff apparel, 3300ff pole, 00c2ff land,
    007aff bannister, 00ffa3 escalator, ff9900 ottoman, 00ff0a bottle, ff7000 buffet, 8fff00 poster, 5200ff stage,
    a3ff00 van, ffeb00 ship, 08b8aa fountain, 8500ff conveyer belt, 00ff5c canopy, b800ff washer, ff001f plaything,
    00b8ff swimming pool, 00d6ff stool, ff0070 barrel, 5cff00 basket, 00e0ff waterfall, 70e0ff tent, 46b8a0 bag,
    a300ff minibike, 9900ff cradle, 47ff00 oven, ff00a3 ball, ffcc00 food, ff008f step, 00ffeb tank,
    85ff00 trade name, ff00eb microwave, f500ff pot, ff007a animal, fff500 bicycle, 0abed4 lake, d6ff00 dishwasher,
    00ccff screen, 1400ff blanket, ffff00 sculpture, 0099ff hood, 0029ff sconce, 00ffcc vase, 2900ff traffic light,
    29ff00 tray, ad00ff ashcan, 00f5ff fan, 4700ff pier, 7a00ff crt screen, 00ffb8 plate, 005cff monitor,
    b8ff00 bulletin board, 0085ff shower, ffd600 radiator, 19c2c2 glass, 66ff00 clock, 5c00ff flag"""
)

_SPLITS = {"train": "training", "val": "validation"}


class ADE20KSource(LayoutSource):
    """ADE20K in the release for scene parsing: 150 classes (Zhou et al. 2017).

    Layout, as ADEChallengeData2016.zip unpacks (20,210 training and 2000 validation images)::

        root/                                        ADEChallengeData2016
          images/
            training/ADE_train_00000001.jpg          also validation/ADE_val_00000001.jpg
          annotations/
            training/ADE_train_00000001.png          0 = something else, 1..150 = class

    The stored 1..150 become 0..149 (`kseg.data.ADE20K`), and the stored 0 becomes void, 255.

    Args:
        root: the folder that holds images and annotations.
        split: "train" or "val".
        channels: 3 for RGB, 1 for luminance.

    Raises:
        DataError: another layout, a missing mask, a value above 150; names the file and the fix.
        ValueError: no such split.

    Example:
        >>> source = kseg.data.ADE20KSource("data/ADEChallengeData2016", split="val")
        >>> len(source.class_names)
        150
    """

    def __init__(self, root: str | Path, split: str = "train", *, channels: int = 3):
        folder = chosen("split", split, _SPLITS, "ADE20K")
        root = require_folders(root, (f"images/{folder}", f"annotations/{folder}"), "ADE20K for scene parsing")
        pairs = pair_folders(root / "images" / folder, root / "annotations" / folder)
        stored = {0: VOID, **{number + 1: number for number in range(len(ADE20K))}}
        expected = "ADE20K numbers in one channel, 0 (void) to 150, as ADEChallengeData2016.zip has them"
        super().__init__(pairs, ADE20K, stored, expected, channels)


def from_ade20k(
    root: str | Path,
    batch_size: int = 8,
    *,
    split: str = "train",
    channels: int = 3,
    check: bool = False,
    **options,
) -> tf.data.Dataset:
    """A `tf.data.Dataset` of (image, label) batches of ADE20K for scene parsing.

    Args:
        root: the folder that holds images and annotations; drawn at `kseg.data.ADE20KSource`.
        batch_size: samples per batch.
        split: "train" or "val".
        channels: 3 for RGB, 1 for luminance.
        check: read every file once before, and raise one error with every problem.
        **options: of `kseg.data.pipeline`. The images have many sizes: pass crop_size or size, or batch_size=1.

    Returns:
        Data set of (image float32 `(B, H, W, channels)` of 0..255, label int32 `(B, H, W)` of 0..149 and 255).

    Raises:
        DataError, ValueError: as `kseg.data.ADE20KSource`; images of several sizes in one batch.

    Example:
        >>> train = kseg.data.from_ade20k("data/ADEChallengeData2016", 8, crop_size=512, shuffle=True)
    """
    return batches(ADE20KSource(root, split, channels=channels), batch_size, check, options)
