"""Pascal VOC."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from kseg.data.errors import DataError, listed
from kseg.data.layouts.class_table import ClassTable
from kseg.data.layouts.layout_source import LayoutSource, batches, pair_listed, require_folders
from kseg.data.layouts.voc_colours import voc_colours

_NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
VOC = ClassTable(_NAMES, voc_colours(len(_NAMES)))

_LISTS = "ImageSets/Segmentation"


class VOCSource(LayoutSource):
    """Pascal VOC 2007 to 2012: photographs, background and 20 classes (Everingham et al. 2015).

    Layout, as the archive unpacks (2012: 1464 training and 1449 validation images)::

        root/                     VOCdevkit/VOC2012, or a folder that holds VOC2012 or VOCdevkit/VOC2012
          ImageSets/Segmentation/
            train.txt  val.txt  trainval.txt     one image name per line
            trainaug.txt                         if added: the 10,582 images of SBD (Hariharan et al. 2011)
          JPEGImages/2007_000032.jpg
          SegmentationClass/2007_000032.png      palette: index = class, 255 = void
          SegmentationClassAug/2007_000032.png   if added: the masks of the augmented list

    Augmented training: `split="trainaug", masks="SegmentationClassAug"`. A line of a list is a name, or the paths of
    image and mask below `root`, as augmented lists often have them.

    Args:
        root: see above.
        split: a list in ImageSets/Segmentation without ".txt", or the path of any such list, ending in ".txt".
        masks: the folder of the masks.
        year: of the folder that is looked for.
        channels: 3 for RGB, 1 for luminance.

    Raises:
        DataError: another layout, no such list, a missing mask, a mask of colours in place of indices; names the file
            and the fix.

    Example:
        >>> source = kseg.data.VOCSource("data/VOCdevkit/VOC2012", split="val")
        >>> len(source.class_names)
        21
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        masks: str = "SegmentationClass",
        year: int = 2012,
        channels: int = 3,
    ):
        root = Path(root)
        nested = (root / f"VOC{year}", root / "VOCdevkit" / f"VOC{year}")
        root = next((folder for folder in nested if folder.is_dir()), root)
        require_folders(root, ("JPEGImages", _LISTS, masks), "Pascal VOC")
        path = _list_path(root, str(split))
        lines = [line.split() for line in path.read_text("utf-8").splitlines() if line.strip()]
        if not lines:
            raise DataError(f"{path} is empty: it must hold one image name per line")
        pairs = [_pair(root, masks, words, path) for words in lines]
        fix = f"Masks of other lists than VOC's own lie in a folder of their own, looked for in {masks}: pass masks=..."
        expected = "VOC class numbers in one channel or as palette indices: 0..20, and 255 for void"
        classes = {number: number for number in range(len(VOC))}
        super().__init__(pair_listed(pairs, str(path), fix), VOC, classes, expected, channels)


def _list_path(root: Path, split: str) -> Path:
    path = Path(split) if split.endswith(".txt") else root / _LISTS / f"{split}.txt"
    if not path.is_file():
        have = listed(sorted(repr(other.stem) for other in (root / _LISTS).glob("*.txt"))) or "none"
        raise DataError(
            f"no such split list: {path}. Lists in {root / _LISTS}: {have}. Pass one of them as split, or the path of "
            "a .txt file of image names"
        )
    return path


def _pair(root: Path, masks: str, words: list[str], path: Path) -> tuple[Path, Path]:
    if len(words) == 1:
        return root / "JPEGImages" / f"{words[0]}.jpg", root / masks / f"{words[0]}.png"
    if len(words) == 2 and words[1].endswith(".png"):
        return root / words[0].lstrip("/"), root / words[1].lstrip("/")
    raise DataError(
        f"{path} holds the line {' '.join(words)!r}: expected an image name, or the paths of an image and its .png "
        f"mask. Lists of single classes (with 1 and -1) belong to ImageSets/Main, not to {_LISTS}"
    )


def from_voc(
    root: str | Path,
    batch_size: int = 8,
    *,
    split: str = "train",
    masks: str = "SegmentationClass",
    year: int = 2012,
    channels: int = 3,
    check: bool = False,
    **options,
) -> tf.data.Dataset:
    """A `tf.data.Dataset` of (image, label) batches of Pascal VOC.

    Args:
        root: VOCdevkit/VOC2012 or a folder around it; drawn at `kseg.data.VOCSource`.
        batch_size: samples per batch.
        split: "train", "val", "trainval", another list in ImageSets/Segmentation, or the path of a list.
        masks: the folder of the masks; "SegmentationClassAug" with the augmented list "trainaug".
        year: of the folder that is looked for.
        channels: 3 for RGB, 1 for luminance.
        check: read every file once before, and raise one error with every problem.
        **options: of `kseg.data.pipeline`. The images have many sizes: pass crop_size or size, or batch_size=1.

    Returns:
        Data set of (image float32 `(B, H, W, channels)` of 0..255, label int32 `(B, H, W)` of 0..20 and 255).

    Raises:
        DataError, ValueError: as `kseg.data.VOCSource`; images of several sizes in one batch.

    Example:
        >>> train = kseg.data.from_voc("data/VOCdevkit/VOC2012", 8, crop_size=512, shuffle=True)
        >>> val = kseg.data.from_voc("data/VOCdevkit/VOC2012", 1, split="val")
    """
    source = VOCSource(root, split, masks=masks, year=year, channels=channels)
    return batches(source, batch_size, check, options)
