"""Reads a data folder once and reports on it, before training does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kseg.data.argument_checks import check_arguments
from kseg.data.errors import DataError, counted_problems, listed
from kseg.data.file_source import (
    channels_differ,
    common_range,
    in_threads,
    infer_num_classes,
    labels_out_of_range,
    only_0_and_255,
    out_of_range,
    sizes_differ,
)
from kseg.data.pairing import pair_files
from kseg.data.reading import ImageInfo, probe, read_image, read_mask


@dataclass
class FolderReport:
    """What `check_folder` found.

    Attributes:
        count: pairs of image and mask.
        smallest, largest: (height, width) in pixels of the images with the fewest and the most pixels; None without
            images.
        channels: channels of the images as they will be read; None if they differ.
        dtypes: the images' dtypes.
        input_range: range of the images' dtype, or as given.
        value_range: lowest and highest pixel value found.
        num_classes: as given, or inferred from the masks; None if that failed.
        class_pixels: pixels per class, over all masks.
        ignored_pixels: pixels of `ignore_index`.
        problems: one sentence each; training would fail.
        warnings: one sentence each; training would run, but perhaps not as meant.
    """

    count: int = 0
    smallest: tuple[int, int] | None = None
    largest: tuple[int, int] | None = None
    channels: int | None = None
    dtypes: list[str] = field(default_factory=list)
    input_range: tuple[float, float] | None = None
    value_range: tuple[float, float] | None = None
    num_classes: int | None = None
    class_pixels: list[int] = field(default_factory=list)
    ignored_pixels: int = 0
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    def raise_for_problems(self) -> None:
        """Raises one `DataError` with every problem, if there is any."""
        if self.problems:
            raise DataError(counted_problems(self.problems))

    def __str__(self) -> str:
        lines = [f"pairs: {self.count}"]
        if self.smallest:
            sizes = {self.smallest, self.largest}
            lines.append(f"size (height x width): {' to '.join(f'{h}x{w}' for h, w in sorted(sizes))}")
            lines.append(f"channels: {'differ' if self.channels is None else self.channels}, {', '.join(self.dtypes)}")
        if self.value_range:
            lines.append("values: {:g} to {:g}, input_range ({:g}, {:g})".format(*self.value_range, *self.input_range))
        total = sum(self.class_pixels) + self.ignored_pixels
        if total:
            lines.append(f"classes: {self.num_classes}")
            lines += [f"  class {k}: {100 * n / total:6.2f} % of the pixels" for k, n in enumerate(self.class_pixels)]
            if self.ignored_pixels:
                lines.append(f"  ignored: {100 * self.ignored_pixels / total:6.2f} % of the pixels")
        lines += [f"warning: {warning}" for warning in self.warnings]
        lines += [f"problem: {problem}" for problem in self.problems]
        return "\n".join(lines)


@dataclass
class _Pair:
    """What one pair gave."""

    image: Path
    mask: Path
    info: ImageInfo | None = None
    low: float = 0.0
    high: float = 0.0
    labels: np.ndarray | None = None
    counts: np.ndarray | None = None
    problems: list[str] = field(default_factory=list)


def check_folder(
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
    strict: bool = True,
) -> FolderReport:
    """Reads every image and mask, in threads, and reports what is there and what is wrong.

    Args:
        images_dir: folder of PNG, JPEG, BMP or TIFF images.
        masks_dir: folder of the masks, paired by stem.
        channels: None takes the images'; 1 and 3 convert grey and RGB into each other.
        num_classes: None takes the highest class number in the masks + 1.
        ignore_index: label that is not counted, None for none.
        mask_suffix: what the stem of a mask has more than that of its image, such as "_mask".
        mask_values: from stored value (or colour) to class, such as `{0: 0, 255: 1}`.
        input_range: range of the sensor; None takes the dtype's.
        class_names: one name per class.
        strict: raise when there are problems; False returns the report with its `problems`.

    Returns:
        `FolderReport`; `str(report)` is a readable summary.

    Raises:
        DataError: with `strict`, one text with every problem and its file.
        TypeError, ValueError: an argument of another type or out of its range, named.
    """
    check_arguments(channels, num_classes, ignore_index, mask_suffix, mask_values, input_range, class_names)
    pairs, problems = pair_files(images_dir, masks_dir, mask_suffix)
    if class_names is not None and num_classes is None:
        num_classes = len(class_names)
    report = check_pairs(
        pairs, channels, num_classes, ignore_index, mask_values=mask_values, input_range=input_range, strict=False
    )
    report.problems[:0] = problems
    if strict:
        report.raise_for_problems()
    return report


def check_pairs(
    pairs: Sequence[tuple[Path, Path]],
    channels: int | None = None,
    num_classes: int | None = None,
    ignore_index: int | None = 255,
    *,
    mask_values: dict | None = None,
    input_range: tuple[float, float] | None = None,
    expected: str | None = None,
    strict: bool = True,
) -> FolderReport:
    """As `check_folder`, of (image, mask) paths that are paired already; `expected` as in `kseg.data.FileSource`."""
    report = FolderReport()
    results = in_threads(lambda pair: _read_pair(*pair, channels, mask_values, ignore_index, expected), pairs)
    for result in results:
        report.problems += result.problems
    _describe_images(report, results, channels, input_range)
    _describe_labels(report, results, num_classes, ignore_index)
    if strict:
        report.raise_for_problems()
    return report


def _read_pair(image_path: Path, mask_path: Path, channels, mask_values, ignore_index, expected) -> _Pair:
    result = _Pair(image_path, mask_path)
    image = mask = None
    try:
        result.info = probe(image_path)
        image = read_image(image_path, channels)
        result.low, result.high = float(image.min()), float(image.max())
        if not np.isfinite([result.low, result.high]).all():
            result.problems.append(f"{image_path} holds values that are not finite (NaN or infinity)")
    except DataError as error:
        result.problems.append(str(error))
        result.info = None
    try:
        mask = read_mask(mask_path, mask_values, ignore_index, expected)
        result.labels, result.counts = np.unique(mask, return_counts=True)
    except DataError as error:
        result.problems.append(str(error))
    if image is not None and mask is not None and image.shape[:2] != mask.shape:
        result.problems.append(sizes_differ(image_path, image.shape, mask_path, mask.shape))
    return result


def _describe_images(report: FolderReport, results: list[_Pair], channels, input_range) -> None:
    good = [result for result in results if result.info is not None]
    report.count = len(results)
    if not good:
        return
    sizes = sorted(((r.info.height, r.info.width) for r in good), key=lambda size: size[0] * size[1])
    report.smallest, report.largest = sizes[0], sizes[-1]
    report.dtypes = sorted({result.info.dtype for result in good})
    report.channels = channels or good[0].info.channels
    if channels is None:
        for result in good:
            if result.info.channels != good[0].info.channels:
                report.channels = None
                report.problems.append(
                    channels_differ(good[0].image, good[0].info.channels, result.image, result.info.channels)
                )
                break
    report.input_range = tuple(input_range or common_range([result.info for result in good]))
    low, high = min(r.low for r in good), max(r.high for r in good)
    report.value_range = (low, high)
    if len(report.dtypes) > 1:
        report.warnings.append(f"the images have different dtypes ({', '.join(report.dtypes)}) and one input_range")
    if low < report.input_range[0] or high > report.input_range[1]:
        report.warnings.append(
            f"pixel values {low:g} to {high:g} leave the input_range {report.input_range}: "
            f"pass input_range=({low:g}, {high:g})"
        )
    elif report.dtypes == ["uint16"] and input_range is None and high <= 4095:
        report.warnings.append(
            f"16-bit images with values up to {high:g} only: if the sensor has fewer bits, pass its input_range, "
            f"such as (0, {1023 if high <= 1023 else 4095})"
        )


def _describe_labels(report: FolderReport, results: list[_Pair], num_classes, ignore_index) -> None:
    good = [result for result in results if result.labels is not None]
    if not good:
        report.num_classes = num_classes
        return
    if num_classes is None:
        try:
            num_classes = infer_num_classes([r.mask for r in good], [r.labels for r in good], ignore_index)
        except DataError as error:
            report.problems.append(str(error))
            return
    report.num_classes = num_classes
    totals: dict[int, int] = {}
    for result in good:
        wrong = labels_out_of_range(result.labels, num_classes, ignore_index)
        if wrong:
            report.problems.append(out_of_range(result.mask, wrong, num_classes, ignore_index))
        for label, count in zip(result.labels.tolist(), result.counts.tolist(), strict=True):
            totals[label] = totals.get(label, 0) + count
    report.class_pixels = [totals.get(k, 0) for k in range(max(num_classes, 2))]
    report.ignored_pixels = 0 if ignore_index is None else totals.get(ignore_index, 0)
    absent = [k for k, count in enumerate(report.class_pixels) if count == 0]
    if ignore_index == 255 and set(totals) == {0, 255}:
        report.warnings.append(only_0_and_255(good[0].mask.parent))
    elif absent:
        report.warnings.append(f"no mask holds class {listed(absent)}")
