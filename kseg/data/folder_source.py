"""Image and mask files in two folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kseg.data.argument_checks import check_arguments
from kseg.data.errors import DataError
from kseg.data.file_source import FileSource
from kseg.data.pairing import pair_files


class FolderSource(FileSource):
    """Pairs of image and mask files with the same stem, in the order of their stems.

    The constructor reads the folders and the headers of the images, so that what can be known quickly is known before
    training; `kseg.data.check_folder` reads everything.

    Args:
        images_dir: folder of PNG, JPEG, BMP or TIFF images; see `kseg.data.read_image`.
        masks_dir: folder of the masks; see `kseg.data.read_mask`. The same folder is allowed with a `mask_suffix`.
        channels: None takes the channels of the first image, and every other must have as many; 1 and 3 convert grey
            and RGB into each other.
        num_classes: None reads every mask once and takes the highest class number + 1, at least 2; at most 65536.
        ignore_index: label that is not counted, and no class; None for none.
        mask_suffix: what the stem of a mask has more than that of its image, such as "_mask".
        mask_values: from stored value (or colour) to class, such as `{0: 0, 255: 1}`.
        input_range: None takes the range of the dtype: (0, 255), (0, 65535), and (0, 1) for float.
        class_names: one name per class.

    Attributes:
        image_paths, mask_paths: the files, in order.

    Raises:
        DataError: names the file and the problem: missing or empty folder, missing partner, duplicate stem, unreadable
            file, channels that differ, label out of range.
        TypeError, ValueError: an argument of another type or out of its range, named.

    Example:
        >>> source = kseg.data.FolderSource("data/images", "data/masks", num_classes=2)
        >>> image, mask = source.load(0)
    """

    def __init__(
        self,
        images_dir: str | Path,
        masks_dir: str | Path,
        channels: int | None = None,
        num_classes: int | None = None,
        ignore_index: int | None = 255,
        *,
        mask_suffix: str = "",
        mask_values: dict | None = None,
        input_range: tuple[float, float] | None = None,
        class_names: Sequence[str] | None = None,
    ):
        check_arguments(channels, num_classes, ignore_index, mask_suffix, mask_values, input_range, class_names)
        pairs, problems = pair_files(images_dir, masks_dir, mask_suffix)
        if problems:
            raise DataError("\n".join(problems))
        super().__init__(
            pairs,
            channels,
            num_classes,
            ignore_index,
            mask_values=mask_values,
            input_range=input_range,
            class_names=class_names,
        )
