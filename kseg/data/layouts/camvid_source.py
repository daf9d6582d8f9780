"""CamVid."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from kseg.data.errors import DataError, listed
from kseg.data.layouts.class_table import table_of
from kseg.data.layouts.layout_source import VOID, LayoutSource, batches, chosen, pair_folders, require_folders

# In each line one of the 11 classes: the first colour is that of the class, the others are classes of the original 32
# that are counted to it. "Void" is the 32nd.
_GROUPS = """
    sky: 808080 Sky
    building: 800000 Building, 008040 Bridge, 40c000 Wall, 400040 Tunnel, c00080 Archway
    pole: c0c080 Column_Pole, 000040 TrafficCone
    road: 804080 Road, 8000c0 LaneMkgsDriv, c00040 LaneMkgsNonDriv
    pavement: 0000c0 Sidewalk, 40c080 ParkingBlock, 8080c0 RoadShoulder
    tree: 808000 Tree, c0c000 VegetationMisc
    sign symbol: c08080 SignSymbol, 808040 Misc_Text, 004040 TrafficLight
    fence: 404080 Fence
    car: 400080 Car, 4080c0 SUVPickupTruck, c080c0 Truck_Bus, c04080 Train, 804040 OtherMoving
    pedestrian: 404000 Pedestrian, c08040 Child, 4000c0 CartLuggagePram, 408040 Animal
    bicyclist: 0080c0 Bicyclist, c000c0 MotorcycleScooter
"""
_LINES = [line.split(":") for line in _GROUPS.strip().splitlines()]
_PARTS = [table_of(parts) for _, parts in _LINES]

CAMVID = table_of(", ".join(f"{parts.split()[0]} {name.strip()}" for name, parts in _LINES))
CAMVID_COLOURS = {colour: number for number, part in enumerate(_PARTS) for colour in part.palette} | {(0, 0, 0): VOID}

_ORIGINAL = ("701_StillsRaw_full", "LabeledApproved_full")
_FRAMES = "the frames of 701_StillsRaw_full"


def _split_of(stem: str) -> str:
    """The split, as in Badrinarayanan et al. (and others before them), that a frame of the original set belongs to."""
    sequence, _, frame = stem.partition("_")
    number = int(frame.lstrip("f"))
    if sequence == "Seq05VD" or (sequence == "0001TP" and number > 8520):
        return "test"
    return "val" if sequence == "0016E5" and 7959 <= number <= 8159 else "train"


class CamVidSource(LayoutSource):
    """CamVid: 701 frames of driving video, 11 classes (Brostow et al. 2009).

    Two layouts are told apart by their folders. As prepared for SegNet, 360x480 (Badrinarayanan et al. 2017)::

        root/
          train/0001TP_006690.png                     367 frames; val/ 101, test/ 233
          trainannot/0001TP_006690.png                0..10 = class, 11 = void; valannot/, testannot/

    The original, 720x960, in 32 colours::

        root/
          701_StillsRaw_full/0001TP_006690.png
          LabeledApproved_full/0001TP_006690_L.png

    There the 32 classes are grouped into the same 11 (`kseg.data.CAMVID`), and the frames are divided in the same way:
    test is sequence Seq05VD and the later half of 0001TP, val are the frames 7959 to 8159 of 0016E5, the rest is train.

    Other arrangements (images/ and masks/ in each split, say) are for `kseg.data.from_folder` with
    `mask_values={**{k: k for k in range(11)}, 11: 255}`.

    Args:
        root: the folder drawn above.
        split: "train", "val" or "test".
        channels: 3 for RGB, 1 for luminance.

    Raises:
        DataError: another layout, a missing mask, a value or colour that is none; names the file and the fix.
        ValueError: no such split.

    Example:
        >>> source = kseg.data.CamVidSource("data/CamVid", split="val")
        >>> source.class_names[:3]
        ['sky', 'building', 'pole']
    """

    def __init__(self, root: str | Path, split: str = "train", *, channels: int = 3):
        chosen("split", split, dict.fromkeys(("train", "val", "test")), "CamVid")
        root = require_folders(root, (), "CamVid")
        if all((root / folder).is_dir() for folder in _ORIGINAL):
            values, expected = CAMVID_COLOURS, "the 32 colours of CamVid's LabeledApproved_full as RGB"
            pairs = pair_folders(root / _ORIGINAL[0], root / _ORIGINAL[1], mask_suffix="_L")
            pairs = [pair for pair in pairs if _checked_split(pair[0]) == split]
            if not pairs:
                raise DataError(
                    f"{root / _ORIGINAL[0]} holds no frame of split {split!r}: is it complete (701 frames)?"
                )
        elif (root / split).is_dir() and (root / f"{split}annot").is_dir():
            values = {**{number: number for number in range(len(CAMVID))}, len(CAMVID): VOID}
            expected = "CamVid class numbers in one channel, 0..10, and 11 for void"
            pairs = pair_folders(root / split, root / f"{split}annot")
        else:
            raise DataError(
                f"{root} is not laid out as CamVid: expected {split} and {split}annot (as prepared for SegNet), or "
                f"{_ORIGINAL[0]} and {_ORIGINAL[1]} (the original). It holds: "
                f"{listed(sorted(path.name for path in root.iterdir()), 8) or 'nothing'}. For images and masks in "
                "folders of other names use kseg.data.from_folder"
            )
        super().__init__(pairs, CAMVID, values, expected, channels)


def _checked_split(path: Path) -> str:
    try:
        return _split_of(path.stem)
    except ValueError:
        raise DataError(
            f"{path} is none of {_FRAMES}, whose names are such as 0001TP_006690.png: move it elsewhere"
        ) from None


def from_camvid(
    root: str | Path,
    batch_size: int = 8,
    *,
    split: str = "train",
    channels: int = 3,
    check: bool = False,
    **options,
) -> tf.data.Dataset:
    """A `tf.data.Dataset` of (image, label) batches of CamVid, from the SegNet or the original layout.

    Args:
        root: the folder of the data set; both layouts are drawn at `kseg.data.CamVidSource`.
        batch_size: samples per batch.
        split: "train", "val" or "test".
        channels: 3 for RGB, 1 for luminance.
        check: read every file once before, and raise one error with every problem.
        **options: of `kseg.data.pipeline`: size, crop_size, random_crop, augment, weights, shuffle, seed, cache, ...

    Returns:
        Data set of (image float32 `(B, H, W, channels)` of 0..255, label int32 `(B, H, W)` of 0..10 and 255).

    Raises:
        DataError, ValueError: as `kseg.data.CamVidSource`.

    Example:
        >>> train = kseg.data.from_camvid("data/CamVid", 4, crop_size=(360, 480), shuffle=True)
    """
    return batches(CamVidSource(root, split, channels=channels), batch_size, check, options)
