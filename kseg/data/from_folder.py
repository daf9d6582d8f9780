"""A data set from two folders, and the two halves of a data folder."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from kseg.data.argument_checks import check_class_names
from kseg.data.check_folder import check_folder
from kseg.data.errors import DataError
from kseg.data.folder_source import FolderSource
from kseg.data.pipeline import pipeline
from kseg.data.source import Source
from kseg.data.splitting import split_indices
from kseg.data.subset import Subset

CLASS_NAMES_FILE = "classes.txt"


def from_folder(
    images_dir: str | Path,
    masks_dir: str | Path,
    batch_size: int = 8,
    *,
    channels: int | None = None,
    num_classes: int | None = None,
    ignore_index: int | None = 255,
    mask_suffix: str = "",
    mask_values: dict | None = None,
    input_range: tuple[float, float] | None = None,
    check: bool = True,
    **options,
) -> tf.data.Dataset:
    """A `tf.data.Dataset` of (image, label) batches from a folder of images and a folder of masks.

    Args:
        images_dir: folder of PNG, JPEG, BMP or TIFF images.
        masks_dir: folder of the masks, paired by stem.
        batch_size: samples per batch.
        channels: None takes the images'; 1 and 3 convert grey and RGB into each other.
        num_classes: None takes the highest class number in the masks + 1.
        ignore_index: label that is not counted, None for none.
        mask_suffix: what the stem of a mask has more than that of its image, such as "_mask".
        mask_values: from stored value (or colour) to class, such as `{0: 0, 255: 1}`.
        input_range: range of the sensor; None takes the dtype's.
        check: read every file once before training and raise one error with every problem (`kseg.data.check_folder`).
        **options: of `kseg.data.pipeline`: size, crop_size, random_crop, augment, weights, shuffle, seed, cache, ...

    Returns:
        Data set of (image float32 `(B, H, W, C)` in the sensor's range, label int32 `(B, H, W)`).

    Raises:
        DataError: names each file with its problem.
        TypeError, ValueError: an argument of another type or out of its range, named.

    Example:
        >>> train = kseg.data.from_folder("data/images", "data/masks", 8, crop_size=256, shuffle=True)
        >>> model.fit(train, epochs=10)
    """
    arguments = {
        "channels": channels,
        "num_classes": num_classes,
        "ignore_index": ignore_index,
        "mask_suffix": mask_suffix,
        "mask_values": mask_values,
        "input_range": input_range,
    }
    if check:
        arguments["num_classes"] = check_folder(images_dir, masks_dir, **arguments).num_classes
    return pipeline(FolderSource(images_dir, masks_dir, **arguments), batch_size, **options)


def open_folder(
    folder: str | Path,
    val_fraction: float = 0.2,
    val_count: int | None = None,
    seed: int = 0,
    **arguments,
) -> tuple[Source, Source]:
    """Opens a data folder as training and validation sources.

    Either `folder/images` and `folder/masks`, of which a part chosen by `seed` becomes the validation set, or
    `folder/train/images`, `folder/train/masks`, `folder/val/images` and `folder/val/masks`. A file `folder/classes.txt`
    with one class name per line, if there is one, gives the class names.

    Args:
        folder: the data folder.
        val_fraction: part of the pairs to validate on, between 0 and 1; rounded, at least one pair.
        val_count: number of pairs to validate on, instead of `val_fraction`.
        seed: of the split, which is a pure function of (seed, number of pairs).
        **arguments: of `kseg.data.FolderSource`.

    Returns:
        (training source, validation source), with the same number of classes and channels.

    Raises:
        DataError: no such folder, another layout, no pair left for one of the two, or as in `FolderSource`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"no such data folder: {folder}")
    names = folder / CLASS_NAMES_FILE
    if names.is_file() and "class_names" not in arguments:
        arguments["class_names"] = _read_class_names(names)
    if (folder / "train").is_dir() and (folder / "val").is_dir():
        return _open_halves(folder, arguments)
    root = folder / "train" if (folder / "train").is_dir() else folder
    if not (root / "images").is_dir() or not (root / "masks").is_dir():
        raise DataError(
            f"{folder} has neither images/ and masks/ nor train/images, train/masks, val/images and val/masks. It "
            f"holds: {', '.join(sorted(path.name for path in folder.iterdir())[:10]) or 'nothing'}"
        )
    source = FolderSource(root / "images", root / "masks", **arguments)
    train, val = split_indices(len(source), root, "pairs", val_fraction, val_count, seed)
    return Subset(source, train), Subset(source, val)


def _read_class_names(path: Path) -> list[str] | None:
    try:
        text = path.read_text("utf-8-sig")  # editors on Windows put a mark first
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8") from error
    names = [line.strip() for line in text.splitlines() if line.strip()]
    try:
        check_class_names(names, where=str(path))
    except ValueError as error:
        raise DataError(str(error)) from error
    return names


def _open_halves(folder: Path, arguments: dict) -> tuple[Source, Source]:
    train = FolderSource(folder / "train" / "images", folder / "train" / "masks", **arguments)
    arguments = {**arguments, "channels": arguments.get("channels") or train.channels}
    val = FolderSource(folder / "val" / "images", folder / "val" / "masks", **arguments)
    # Inferred from the masks, either half may lack the last class.
    train.num_classes = val.num_classes = max(train.num_classes, val.num_classes)
    train.input_range = val.input_range = (
        min(train.input_range[0], val.input_range[0]),
        max(train.input_range[1], val.input_range[1]),
    )
    return train, val
