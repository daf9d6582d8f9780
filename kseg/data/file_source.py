"""Image and mask files, given as pairs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from kseg.data.argument_checks import check_arguments
from kseg.data.errors import DataError, listed
from kseg.data.reading import ImageInfo, probe, read_image, read_mask
from kseg.data.source import Source

_RANGES = {"uint8": (0, 255), "uint16": (0, 65535), "int16": (-32768, 32767), "bool": (0, 255)}


class FileSource(Source):
    """Pairs of image and mask files, in the order given.

    The constructor reads the headers of the images, so that what can be known quickly is known before training; `check`
    reads everything.

    Args:
        pairs: (image, mask) paths; see `kseg.data.read_image` and `kseg.data.read_mask`.
        channels: None takes the channels of the first image, and every other must have as many; 1 and 3 convert grey
            and RGB into each other.
        num_classes: None reads every mask once and takes the highest class number + 1, at least 2; at most 65536.
        ignore_index: label that is not counted, and no class; None for none.
        mask_values: from stored value (or colour) to class, such as `{0: 0, 255: 1}`.
        input_range: None takes the range of the dtype: (0, 255), (0, 65535), and (0, 1) for float.
        class_names: one name per class.
        expected: what the masks of a published data set hold, as a phrase for messages; None for one's own masks.

    Attributes:
        image_paths, mask_paths: the files, in order.

    Raises:
        DataError: names the file and the problem: no pair, unreadable file, channels that differ, label out of range.
        TypeError, ValueError: an argument of another type or out of its range, named.

    Example:
        >>> source = kseg.data.FileSource([("a.jpg", "a.png"), ("b.jpg", "b.png")], num_classes=2)
        >>> image, mask = source.load(0)
    """

    def __init__(
        self,
        pairs: Iterable[tuple[str | Path, str | Path]],
        channels: int | None = None,
        num_classes: int | None = None,
        ignore_index: int | None = 255,
        *,
        mask_values: dict | None = None,
        input_range: tuple[float, float] | None = None,
        class_names: Sequence[str] | None = None,
        expected: str | None = None,
    ):
        check_arguments(channels, num_classes, ignore_index, "", mask_values, input_range, class_names)
        pairs = [(Path(image), Path(mask)) for image, mask in pairs]
        if not pairs:
            raise DataError("pairs must hold at least one image and its mask, got none")
        if class_names is not None and num_classes is None:
            num_classes = len(class_names)
        self.image_paths = [image for image, _ in pairs]
        self.mask_paths = [mask for _, mask in pairs]
        self._mask_values = mask_values
        self._expected = expected
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
        mask = self._read_mask(path)
        wrong = labels_out_of_range(np.unique(mask), self.num_classes, self.ignore_index)
        if wrong:
            raise DataError(out_of_range(path, wrong, self.num_classes, self.ignore_index))
        return mask

    def check(self, strict: bool = True):
        """Reads every file once, and reports what is there and what is wrong.

        Args:
            strict: raise when there are problems; False returns the report with its `problems`.

        Returns:
            `kseg.data.FolderReport`.

        Raises:
            DataError: with `strict`, one text with every problem and its file.
        """
        from kseg.data.check_folder import check_pairs

        return check_pairs(
            list(zip(self.image_paths, self.mask_paths, strict=True)),
            self.channels,
            self.num_classes,
            self.ignore_index,
            mask_values=self._mask_values,
            input_range=self.input_range,
            expected=self._expected,
            strict=strict,
        )

    @property
    def names(self) -> list[str]:
        return [path.stem for path in self.image_paths]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        return self._sizes

    def _read_mask(self, path: Path) -> np.ndarray:
        return read_mask(path, self._mask_values, self.ignore_index, self._expected)

    def _infer_num_classes(self) -> int:
        values = in_threads(lambda path: np.unique(self._read_mask(path)), self.mask_paths)
        return infer_num_classes(self.mask_paths, values, self.ignore_index)


def in_threads(function: Callable, items: Iterable) -> list:
    """`[function(item) for item in items]` over threads: decoders release the GIL."""
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        return list(pool.map(function, items))


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
