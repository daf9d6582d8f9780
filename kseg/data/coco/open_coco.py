"""The two halves of a data folder with annotations in COCO's format."""

from __future__ import annotations

from pathlib import Path

from kseg.data.coco.coco_source import CocoSource
from kseg.data.errors import DataError, listed
from kseg.data.instances.instance_source import InstanceSource
from kseg.data.instances.instance_subset import InstanceSubset
from kseg.data.splitting import split_indices

_ANNOTATIONS = "instances.json"
# Folders of images and annotation files of a training and a validation half.
_HALVES = (
    (("train/images", f"train/{_ANNOTATIONS}"), ("val/images", f"val/{_ANNOTATIONS}")),
    (("train2017", "annotations/instances_train2017.json"), ("val2017", "annotations/instances_val2017.json")),
)


def open_coco(
    folder: str | Path,
    val_fraction: float = 0.2,
    val_count: int | None = None,
    seed: int = 0,
    **arguments,
) -> tuple[InstanceSource, InstanceSource]:
    """Opens a data folder as training and validation sources of objects.

    One of

    - `folder/images` and `folder/instances.json`, of which a part chosen by `seed` becomes the validation set;
    - `folder/train/images`, `folder/train/instances.json`, `folder/val/images` and `folder/val/instances.json`;
    - COCO as it is published: `folder/train2017`, `folder/val2017`, and `folder/annotations/instances_train2017.json`
      and `instances_val2017.json`.

    Args:
        folder: the data folder.
        val_fraction: part of the images to validate on, between 0 and 1; rounded, at least one image.
        val_count: number of images to validate on, instead of `val_fraction`.
        seed: of the split, which is a pure function of (seed, number of images).
        **arguments: of `kseg.data.CocoSource`.

    Returns:
        (training source, validation source), of the same classes.

    Raises:
        DataError: no such folder, another layout, halves of different categories, no image left for one of the two, or
            as in `CocoSource`.

    Example:
        >>> train, val = kseg.data.open_coco("fruits_nuts", val_count=3)
        >>> dataset = kseg.data.instance_pipeline(train, 2, shuffle=True)
    """
    parts = coco_parts(folder)
    sources = [CocoSource(*part, **arguments) for part in parts]
    if len(sources) == 2:
        train, val = sources
        if train.class_names != val.class_names or train.category_ids != val.category_ids:
            raise DataError(
                f"{parts[0][1]} has the categories {_named(train)}, but {parts[1][1]} has {_named(val)}: pass "
                "categories=[...] with those to take"
            )
        return train, val
    (source,) = sources
    train, val = split_indices(len(source), Path(folder), "images", val_fraction, val_count, seed)
    return InstanceSubset(source, train), InstanceSubset(source, val)


def is_coco_folder(folder: str | Path) -> bool:
    """Whether it holds annotation files where `open_coco` looks for them."""
    names = [_ANNOTATIONS, *(annotations for halves in _HALVES for _, annotations in halves)]
    return any((Path(folder) / name).is_file() for name in names)


def coco_parts(folder: str | Path) -> list[tuple[Path, Path]]:
    """Folder of images and annotation file of the training and the validation half, or of the one part that there is.

    Raises:
        DataError: no such folder, or another layout than `open_coco` knows.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"no such data folder: {folder}")
    for halves in _HALVES:
        if all((folder / name).exists() for half in halves for name in half):
            return [(folder / images, folder / annotations) for images, annotations in halves]
    if not (folder / "images").is_dir() or not (folder / _ANNOTATIONS).is_file():
        raise DataError(
            f"{folder} has neither images/ and {_ANNOTATIONS}, nor train/ and val/ with these, nor train2017/, "
            "val2017/ and annotations/instances_train2017.json. It holds: "
            f"{listed(sorted(path.name for path in folder.iterdir()), 10) or 'nothing'}. Maps of object ids are read "
            "by kseg.data.InstanceFolderSource"
        )
    return [(folder / "images", folder / _ANNOTATIONS)]


def _named(source: CocoSource) -> str:
    return listed(
        f"{category} {name!r}" for category, name in zip(source.category_ids, source.class_names, strict=True)
    )
