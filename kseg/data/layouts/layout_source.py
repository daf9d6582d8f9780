"""What the sources of published data sets have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import tensorflow as tf

from kseg.data.argument_checks import check_flag
from kseg.data.errors import DataError, listed
from kseg.data.file_source import FileSource
from kseg.data.layouts.class_table import ClassTable
from kseg.data.pairing import files_by_stem, match_stems
from kseg.data.pipeline import pipeline

VOID = 255


class LayoutSource(FileSource):
    """Files of a published data set: its classes as 0, 1, 2, ..., void pixels as 255.

    Args:
        pairs: (image, mask) paths.
        table: the classes.
        mask_values: from stored value or colour to class; void is 255.
        expected: what a mask holds, as a phrase for messages.
        channels: 3 for RGB, also of the few grey photographs that some sets hold; 1 for luminance.

    Attributes:
        classes: the `kseg.data.ClassTable`.

    Raises:
        DataError: as in `kseg.data.FileSource`.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[Path, Path]],
        table: ClassTable,
        mask_values: Mapping,
        expected: str,
        channels: int = 3,
    ):
        super().__init__(
            pairs,
            channels,
            len(table),
            VOID,
            mask_values=dict(mask_values),
            input_range=(0, 255),
            class_names=table.names,
            expected=expected,
        )
        self.classes = table


def batches(source: LayoutSource, batch_size: int, check: bool, options: dict) -> tf.data.Dataset:
    """The pipeline over a source, whose files are all read once before if `check`."""
    check_flag("check", check)
    if check:
        source.check()
    return pipeline(source, batch_size, **options)


def chosen(argument: str, value, choices: Mapping[str, object], dataset: str):
    """`choices[value]`.

    Raises:
        ValueError: no such choice.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{argument} must be one of {', '.join(map(repr, choices))} for {dataset}, got {value!r}")
    return choices[value]


def require_folders(root: str | Path, folders: Sequence[str], dataset: str) -> Path:
    """`root` as a path, after a look for the folders in it.

    Raises:
        DataError: no such root, or it lacks one of the folders.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"root: no such folder: {root}")
    missing = [name for name in folders if not (root / name).is_dir()]
    if missing:
        inside = listed(sorted(path.name for path in root.iterdir()), 8) or "nothing"
        raise DataError(
            f"{root} is not laid out as {dataset}: it has no {' and no '.join(missing)}. Pass as root the folder that "
            f"holds {folders[0].split('/')[0]}, or unpack what is missing. It holds: {inside}"
        )
    return root


def pair_folders(
    images_dir: Path, masks_dir: Path, *, image_suffix="", mask_suffix="", pattern="*", fix=""
) -> list[tuple[Path, Path]]:
    """Pairs the files of two folders by their stems without the suffixes.

    Raises:
        DataError: with every problem; `fix` follows where masks are missing.
    """
    problems: list[str] = []
    images = files_by_stem("images", images_dir, problems, suffix=image_suffix, pattern=pattern)
    masks = files_by_stem("masks", masks_dir, problems, suffix=mask_suffix, pattern=pattern)
    pairs = match_stems(images, masks, images_dir, masks_dir, mask_suffix, problems)
    if problems:
        raise DataError("\n".join(problems) + (f"\n{fix}" if fix and images.keys() - masks.keys() else ""))
    return pairs


def pair_listed(pairs: Sequence[tuple[Path, Path]], source: str, fix: str = "") -> list[tuple[Path, Path]]:
    """The pairs, after a look for the files.

    Args:
        pairs: (image, mask) paths.
        source: what named them, for messages.
        fix: a sentence that follows where masks are missing.

    Raises:
        DataError: an image or a mask that is not there.
    """
    problems = []
    for what, place in (("images", 0), ("masks", 1)):
        missing = [pair[place] for pair in pairs if not pair[place].is_file()]
        if missing:
            problems.append(
                f"{len(missing)} of {len(pairs)} {what} that {source} names are missing: {listed(missing)}."
                + (f" {fix}" if fix and place else "")
            )
    if problems:
        raise DataError("\n".join(problems))
    return list(pairs)
