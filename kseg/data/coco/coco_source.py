"""Images with COCO's annotations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kseg.data.argument_checks import check_flag, check_whole
from kseg.data.coco.reading import other_size, read_coco
from kseg.data.coco.segmentations import to_rle
from kseg.data.errors import DataError
from kseg.data.file_source import common_range
from kseg.data.instances.instance_source import InstanceSource
from kseg.data.instances.instances import Instances
from kseg.data.reading import probe, read_image


class CocoSource(InstanceSource):
    """Images and their objects, from an annotation file in COCO's format.

    Segmentations may be polygons (of several parts), and RLE with run lengths or compressed; they are rasterised as
    COCO's own tools do. The constructor checks every annotation, and with `check` the headers of the images.

    Args:
        images_dir: folder that `file_name` starts from.
        annotations_json: the annotation file.
        categories: ids or names of the categories to take, in the order of the classes 0..num_classes-1; annotations of
            others are left out. None takes all, by id.
        channels: 3 for RGB, to which grey images are converted; 1 for luminance; None for what the first image has.
        on_bad: "error" raises one error that names what is wrong with the data; "skip" leaves such images and
            annotations out, with a warning that counts and names them. Points and lines instead of polygons are left
            out, and objects cut off that reach beyond their image, with a warning in either case.
        boxes_as_masks: take the box of an annotation that has no segmentation.
        keep_empty: keep images without an object.
        check: read the headers of all images first. False leaves a missing file, or one of another size, to
            `load`.
        input_range: range of the sensor; None takes (0, 255), or (0, 65535) and (0, 1) by the images' dtype.

    Attributes:
        category_ids: COCO's category id of each class.
        image_paths: the files.
        image_ids: COCO's ids of the images.
        class_names: the categories' names.

    Raises:
        DataError: the file is missing, is not JSON or not COCO's; an image or annotation is bad (with
            `on_bad="error"`); nothing is left.
        TypeError, ValueError: an argument of another type or out of its range, named.

    Example:
        >>> source = kseg.data.CocoSource("fruits_nuts/images", "fruits_nuts/instances.json")
        >>> source.class_names
        ['date', 'fig', 'hazelnut']
        >>> image, instances = source.load(0)
    """

    def __init__(
        self,
        images_dir: str | Path,
        annotations_json: str | Path,
        *,
        categories: Sequence[int | str] | None = None,
        channels: int | None = 3,
        on_bad: str = "error",
        boxes_as_masks: bool = False,
        keep_empty: bool = True,
        check: bool = True,
        input_range: tuple[float, float] | None = None,
    ):
        if on_bad not in ("error", "skip"):
            raise ValueError(f"on_bad must be 'error' or 'skip', got {on_bad!r}")
        for name, value in (
            ("boxes_as_masks", boxes_as_masks),
            ("keep_empty", keep_empty),
            ("check", check),
        ):
            check_flag(name, value)
        if channels is not None:
            check_whole("channels", channels, "an integer of at least 1, or None", 1)
        contents = read_coco(images_dir, annotations_json, categories, boxes_as_masks=boxes_as_masks, check_files=check)
        contents.findings.report(skip=on_bad == "skip", stacklevel=2)
        self._images = [image for image in contents.images if keep_empty or image.annotations]
        if not self._images:
            without = ", none of which has an object: pass keep_empty=True to keep them" if contents.images else ""
            raise DataError(
                f"{annotations_json} has no image left to read: it lists {len(contents.images)} good ones{without}"
            )
        infos = [image.info for image in self._images if image.info is not None]
        infos = infos or [probe(Path(images_dir) / self._images[0].file_name)]
        super().__init__(
            num_classes=len(contents.class_names),
            channels=infos[0].channels if channels is None else channels,
            dtype="uint8" if all(info.dtype == "uint8" for info in infos) else "float32",
            input_range=common_range(infos) if input_range is None else input_range,
            class_names=contents.class_names,
        )
        self.category_ids = contents.category_ids
        self.image_paths = [Path(images_dir) / image.file_name for image in self._images]

    def __len__(self) -> int:
        return len(self._images)

    def load(self, index: int) -> tuple[np.ndarray, Instances]:
        image = self._images[index]
        pixels = read_image(self.image_paths[index], self.channels)
        problem = other_size(image, pixels.shape[:2])
        if problem:
            raise DataError(f"{problem}: take the images that were annotated, or scale the annotations")
        return pixels, self.load_instances(index)

    def load_instances(self, index: int) -> Instances:
        """The objects alone, at the size of the image. Those so small that they have no pixel are left out."""
        image = self._images[index]
        return Instances.from_rles(
            [to_rle(one.segmentation, image.size) for one in image.annotations],
            [one.label for one in image.annotations],
            image.size,
            [one.crowd for one in image.annotations],
        )

    @property
    def sizes(self) -> list[tuple[int, int]]:
        return [image.size for image in self._images]

    @property
    def image_ids(self) -> list[int]:
        return [image.id for image in self._images]

    @property
    def names(self) -> list[str]:
        return [image.file_name for image in self._images]

    @property
    def counts(self) -> list[int]:
        return [len(image.annotations) for image in self._images]
