"""Image files, and files in which every pixel holds the id of its object."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from kseg.data.argument_checks import check_arguments
from kseg.data.errors import DataError
from kseg.data.file_source import common_range, in_threads, sizes_differ
from kseg.data.instances.instance_pipeline import instance_pipeline
from kseg.data.instances.instance_source import InstanceSource
from kseg.data.instances.instances import Instances
from kseg.data.instances.instances_from_masks import instances_from_masks
from kseg.data.pairing import pair_files
from kseg.data.reading import probe, read_image, read_mask

_EXPECTED = "one number per pixel, in one channel"


class InstanceFolderSource(InstanceSource):
    """Pairs of image and instance-id files with the same stem, in the order of their stems.

    The constructor reads the folders and the headers of the images.

    Args:
        images_dir: folder of PNG, JPEG, BMP or TIFF images; see `kseg.data.read_image`.
        ids_dir: folder of the ids, one number per object, as PNG or TIFF of one channel; see `kseg.data.read_mask`.
        labels_dir: folder of semantic masks, in which every object has one label. None: one class.
        num_classes: number of classes of objects; needed with `labels_dir`, if there are no `class_names`.
        channels: 3 for RGB, to which grey images are converted; 1 for luminance; None for what the first image has.
        mask_suffix: what the stems in `ids_dir` and `labels_dir` have more than that of the image, such as "_mask".
        first_label: label of class 0; see `kseg.data.instances_from_masks`.
        background: id of pixels that belong to no object.
        input_range: None takes the range of the dtype: (0, 255), (0, 65535), and (0, 1) for float.
        class_names: one name per class.

    Raises:
        DataError: names the file and the problem: missing or empty folder, missing partner, unreadable file, an object
            with several labels.
        TypeError, ValueError: an argument of another type or out of its range, named.

    Example:
        >>> source = kseg.data.InstanceFolderSource("nuclei/images", "nuclei/ids")
        >>> dataset = kseg.data.instance_pipeline(source, 2, image_size=512, shuffle=True)
    """

    def __init__(
        self,
        images_dir: str | Path,
        ids_dir: str | Path,
        labels_dir: str | Path | None = None,
        num_classes: int | None = None,
        *,
        channels: int | None = 3,
        mask_suffix: str = "",
        first_label: int = 1,
        background: int = 0,
        input_range: tuple[float, float] | None = None,
        class_names: Sequence[str] | None = None,
    ):
        check_arguments(channels, num_classes, None, mask_suffix, None, input_range, class_names)
        if num_classes is None:
            if class_names is None and labels_dir is not None:
                raise ValueError("num_classes must be given with labels_dir: the number of classes of objects")
            num_classes = 1 if class_names is None else len(class_names)
        pairs = _paired(images_dir, ids_dir, mask_suffix, "ids_dir")
        self.image_paths = [image for image, _ in pairs]
        self._id_paths = [ids for _, ids in pairs]
        self._label_paths = None
        if labels_dir is not None:
            self._label_paths = [labels for _, labels in _paired(images_dir, labels_dir, mask_suffix, "labels_dir")]
        self._first_label, self._background = first_label, background
        infos = in_threads(probe, self.image_paths)
        self._sizes = [(info.height, info.width) for info in infos]
        super().__init__(
            num_classes=num_classes,
            channels=infos[0].channels if channels is None else channels,
            dtype="uint8" if all(info.dtype == "uint8" for info in infos) else "float32",
            input_range=common_range(infos) if input_range is None else input_range,
            class_names=class_names,
        )

    def __len__(self) -> int:
        return len(self.image_paths)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        return self._sizes

    @property
    def names(self) -> list[str]:
        return [path.stem for path in self.image_paths]

    def load(self, index: int) -> tuple[np.ndarray, Instances]:
        path = self._id_paths[index]
        image = read_image(self.image_paths[index], self.channels)
        ids = self._read(path, index)
        labels = None if self._label_paths is None else self._read(self._label_paths[index], index)
        try:
            instances = instances_from_masks(ids, labels, first_label=self._first_label, background=self._background)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        return image, instances

    def _read(self, path: Path, index: int) -> np.ndarray:
        mask = read_mask(path, ignore_index=None, expected=_EXPECTED)
        if mask.shape != self._sizes[index]:
            raise DataError(sizes_differ(self.image_paths[index], self._sizes[index], path, mask.shape))
        return mask


def from_instance_folder(
    images_dir: str | Path,
    ids_dir: str | Path,
    batch_size: int = 2,
    *,
    labels_dir: str | Path | None = None,
    num_classes: int | None = None,
    channels: int | None = 3,
    mask_suffix: str = "",
    first_label: int = 1,
    background: int = 0,
    input_range: tuple[float, float] | None = None,
    **options,
) -> tf.data.Dataset:
    """A `tf.data.Dataset` of batches of images and their objects, from a folder of images and a folder of ids.

    Args:
        images_dir: folder of PNG, JPEG, BMP or TIFF images.
        ids_dir: folder of the ids, one number per object, paired by stem.
        batch_size: images per batch.
        labels_dir: folder of semantic masks; None: one class.
        num_classes: number of classes of objects; needed with `labels_dir`.
        channels: 3 for RGB, 1 for luminance; None for what the first image has.
        mask_suffix: what the stems of ids and labels have more than that of the image.
        first_label: label of class 0.
        background: id of pixels that belong to no object.
        input_range: range of the sensor; None takes the dtype's.
        **options: of `kseg.data.instance_pipeline`.

    Returns:
        `tf.data.Dataset` as of `kseg.data.instance_pipeline`.

    Raises:
        DataError, TypeError, ValueError: as in `kseg.data.InstanceFolderSource`.

    Example:
        >>> train = kseg.data.from_instance_folder("nuclei/images", "nuclei/ids", 2, image_size=512, shuffle=True)
        >>> kseg.MaskRCNN(num_classes=1).fit(train, epochs=10)
    """
    source = InstanceFolderSource(
        images_dir,
        ids_dir,
        labels_dir,
        num_classes,
        channels=channels,
        mask_suffix=mask_suffix,
        first_label=first_label,
        background=background,
        input_range=input_range,
    )
    return instance_pipeline(source, batch_size, **options)


def _paired(images_dir, masks_dir, mask_suffix: str, argument: str) -> list[tuple[Path, Path]]:
    pairs, problems = pair_files(images_dir, masks_dir, mask_suffix, argument)
    if problems:
        raise DataError("\n".join(problems))
    return pairs
