"""Image and mask files in two folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from kseg.data.argument_checks import check_arguments
from kseg.data.errors import DataError, listed
from kseg.data.reading import EXTENSIONS, ImageInfo, probe, read_image, read_mask
from kseg.data.source import Source

_RANGES = {"uint8": (0, 255), "uint16": (0, 65535), "int16": (-32768, 32767), "bool": (0, 255)}


class FolderSource(Source):
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
        if class_names is not None and num_classes is None:
            num_classes = len(class_names)
        self.image_paths = [image for image, _ in pairs]
        self.mask_paths = [mask for _, mask in pairs]
        self._mask_values = mask_values
        infos = in_threads(probe, self.image_paths)
        self._sizes = [(info.height, info.width) for info in infos]
        if channels is None:
            channels = _one_channel_count(self.image_paths, infos)
        if input_range is None:
            input_range = common_range(infos)
        super().__init__(
            channels=channels,
            num_classes=num_classes or 2,  # replaced below when it has to be found out
            ignore_index=ignore_index,
            input_range=input_range,
            class_names=class_names,
        )
        if num_classes is None:
            self.num_classes = self._infer_num_classes()

    def __len__(self) -> int:
        return len(self.image_paths)

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        image = read_image(self.image_paths[index], self.channels)
        mask = self.load_mask(index)
        if mask.shape != image.shape[:2]:
            raise DataError(sizes_differ(self.image_paths[index], image.shape, self.mask_paths[index], mask.shape))
        return image, mask

    def load_mask(self, index: int) -> np.ndarray:
        """The mask alone: int32 `(H, W)`, checked against `num_classes`."""
        path = self.mask_paths[index]
        mask = read_mask(path, self._mask_values, self.ignore_index)
        wrong = labels_out_of_range(np.unique(mask), self.num_classes, self.ignore_index)
        if wrong:
            raise DataError(out_of_range(path, wrong, self.num_classes, self.ignore_index))
        return mask

    @property
    def names(self) -> list[str]:
        return [path.stem for path in self.image_paths]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        return self._sizes

    def _infer_num_classes(self) -> int:
        values = in_threads(
            lambda path: np.unique(read_mask(path, self._mask_values, self.ignore_index)), self.mask_paths
        )
        return infer_num_classes(self.mask_paths, values, self.ignore_index)


def in_threads(function: Callable, items: Iterable) -> list:
    """`[function(item) for item in items]` over threads: decoders release the GIL."""
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        return list(pool.map(function, items))


def pair_files(images_dir, masks_dir, mask_suffix: str = "") -> tuple[list[tuple[Path, Path]], list[str]]:
    """Pairs images and masks by stem.

    Returns:
        (image, mask) paths in the order of the stems, and what is wrong, one sentence per problem. With problems, the
        pairs are those that could be made.
    """
    images_dir, masks_dir = Path(images_dir), Path(masks_dir)
    problems: list[str] = []
    same = images_dir.is_dir() and masks_dir.is_dir() and images_dir.samefile(masks_dir)
    if same and not mask_suffix:
        return [], [f"images_dir and masks_dir are the same folder {images_dir}: pass mask_suffix, such as '_mask'"]

    def is_mask(path: Path) -> bool:
        return path.stem.endswith(mask_suffix)

    images = _by_stem("images_dir", images_dir, (lambda path: not is_mask(path)) if same else None, problems)
    masks = _by_stem("masks_dir", masks_dir, is_mask if mask_suffix else None, problems, strip=mask_suffix)
    if problems and not (images and masks):
        return [], problems
    without_mask = [images[stem] for stem in sorted(images.keys() - masks.keys())]
    without_image = [masks[stem] for stem in sorted(masks.keys() - images.keys())]
    if without_mask:
        problems.append(
            f"{len(without_mask)} of {len(images)} images have no mask named {_pattern(mask_suffix)} in {masks_dir}: "
            f"{listed(path.name for path in without_mask)}"
        )
    if without_image:
        problems.append(
            f"{len(without_image)} of {len(masks)} masks have no image in {images_dir}: "
            f"{listed(path.name for path in without_image)}"
        )
    return [(images[stem], masks[stem]) for stem in sorted(images.keys() & masks.keys())], problems


def _pattern(mask_suffix: str) -> str:
    return f"<image stem>{mask_suffix}.png (or .tif, .bmp)"


def _by_stem(
    argument: str, folder: Path, accept: Callable | None, problems: list[str], strip: str = ""
) -> dict[str, Path]:
    if not folder.is_dir():
        problems.append(f"{argument}: no such folder: {folder}")
        return {}
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    found: dict[str, Path] = {}
    for path in files:
        if path.suffix.lower() not in EXTENSIONS or (accept is not None and not accept(path)):
            continue
        stem = path.stem[: len(path.stem) - len(strip)]
        if stem in found:
            problems.append(f"{argument}: {found[stem]} and {path.name} have the same stem: keep one of them")
        else:
            found[stem] = path
    if not found:
        ending = f" whose stem ends in {strip!r}" if strip else ""
        problems.append(
            f"{argument}: {folder} holds no {'/'.join(e[1:] for e in EXTENSIONS)} file{ending} "
            f"({len(files)} other files)"
        )
    return found


def _one_channel_count(paths: list[Path], infos: list[ImageInfo]) -> int:
    for path, info in zip(paths, infos, strict=True):
        if info.channels != infos[0].channels:
            raise DataError(channels_differ(paths[0], infos[0].channels, path, info.channels))
    return infos[0].channels


def channels_differ(one: Path, one_channels: int, other: Path, other_channels: int) -> str:
    """The sentence for images with different numbers of channels."""
    return (
        f"{one} has {one_channels} channels and {other} has {other_channels}: pass channels=1 or channels=3 to convert "
        f"grey and RGB into each other"
    )


def common_range(infos: list[ImageInfo]) -> tuple[float, float]:
    """The range of the images' dtype; the widest where they differ."""
    ranges = [_RANGES.get(info.dtype, (0.0, 1.0)) for info in infos]
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def sizes_differ(image: Path, image_shape, mask: Path, mask_shape) -> str:
    """The sentence for an image and a mask of different sizes."""
    height, width = image_shape[:2]
    turned = " They fit when one of them is turned by 90 degrees." if (width, height) == tuple(mask_shape[:2]) else ""
    return (
        f"{image} is {height}x{width} but its mask {mask} is {mask_shape[0]}x{mask_shape[1]} (height x width): a mask "
        f"needs one label per pixel of its image.{turned}"
    )


def labels_out_of_range(values: np.ndarray, num_classes: int, ignore_index: int | None) -> list[int]:
    """The labels among `values` that are neither a class nor `ignore_index`."""
    classes = max(num_classes, 2)  # one logit tells two classes apart
    return [int(value) for value in values if not 0 <= value < classes and value != ignore_index]


def out_of_range(path: Path, wrong: list[int], num_classes: int, ignore_index: int | None) -> str:
    """The sentence for labels out of range."""
    ignored = "" if ignore_index is None else f" and ignore_index={ignore_index}"
    text = (
        f"mask {path} holds the label {listed(wrong)}, but num_classes={num_classes} allows "
        f"0..{max(num_classes, 2) - 1}{ignored}: raise num_classes, or translate the stored values with mask_values"
    )
    if wrong == [255]:
        text += ", such as mask_values={0: 0, 255: 1} for a mask of 0 and 255"
    return text


def infer_num_classes(paths: Sequence[Path], values: Sequence[np.ndarray], ignore_index: int | None) -> int:
    """Highest class number + 1, at least 2, from the distinct labels of every mask.

    Raises:
        DataError: a negative label; binary masks of 0 and 255, of which the 255 would be ignored; labels so high that
            they are no class numbers.
    """
    labels = np.unique(np.concatenate(list(values)))
    if set(labels.tolist()) == {0, 255}:
        raise DataError(only_0_and_255(paths[0].parent))
    classes = labels[labels != ignore_index] if ignore_index is not None else labels
    for path, own in zip(paths, values, strict=True):
        strange = [int(v) for v in own if (v < 0 or v > 255) and v != ignore_index]
        if strange:
            raise DataError(
                f"mask {path} holds the value {listed(strange)}: num_classes is not inferred from values outside "
                f"0..255. Pass num_classes, or translate the stored values with mask_values"
            )
    number = max(2, int(classes.max()) + 1) if classes.size else 2
    if ignore_index is not None and 0 <= ignore_index < number:
        raise DataError(
            f"ignore_index={ignore_index} is one of the classes 0..{number - 1} that the masks in {paths[0].parent} "
            "hold: expected a value outside, such as 255, or None. To leave a class out, translate it with mask_values"
        )
    return number


def only_0_and_255(folder: Path) -> str:
    """The sentence for binary masks stored as 0 and 255."""
    return (
        f"the masks in {folder} hold only 0 and 255, and 255 is not class 1: pass mask_values={{0: 0, 255: 1}} "
        f"(or num_classes, if 255 really means 'ignore')"
    )
