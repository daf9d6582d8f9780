"""Reads a COCO data set once and reports on it, before training does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kseg.data.coco.coco_source import CocoSource
from kseg.data.coco.reading import read_coco
from kseg.data.errors import DataError, counted_problems, listed
from kseg.data.file_source import in_threads
from kseg.data.reading import read_image


@dataclass
class CocoReport:
    """What `check_coco` found. Images and annotations with a problem are not counted.

    Attributes:
        images: images.
        empty: images without an object.
        most: the largest number of objects in one image.
        smallest, largest: (height, width) in pixels of the images with the fewest and the most pixels; None without
            images.
        class_names: one per class.
        objects: annotations per class, crowds among them.
        crowds: annotations that are crowds.
        problems: one sentence per kind; training would fail, or be wrong.
        warnings: one sentence per kind; training would run, but perhaps not as meant.
    """

    images: int = 0
    empty: int = 0
    most: int = 0
    smallest: tuple[int, int] | None = None
    largest: tuple[int, int] | None = None
    class_names: list[str] = field(default_factory=list)
    objects: list[int] = field(default_factory=list)
    crowds: int = 0
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
        lines = [f"images: {self.images}, {self.empty} of them without an object"]
        if self.smallest:
            sizes = sorted({self.smallest, self.largest})
            lines.append(f"size (height x width): {' to '.join(f'{h}x{w}' for h, w in sizes)}")
        lines.append(f"objects: {sum(self.objects)}, at most {self.most} per image, {self.crowds} of them crowds")
        lines += [
            f"  class {label} {name}: {count}"
            for label, (name, count) in enumerate(zip(self.class_names, self.objects, strict=True))
        ]
        lines += [f"warning: {warning}" for warning in self.warnings]
        lines += [f"problem: {problem}" for problem in self.problems]
        return "\n".join(lines)


def check_coco(
    images_dir: str | Path,
    annotations_json: str | Path,
    categories: Sequence[int | str] | None = None,
    *,
    boxes_as_masks: bool = False,
    strict: bool = True,
) -> CocoReport:
    """Checks every annotation, reads every image in threads, and reports what is there and what is wrong.

    Args:
        images_dir: folder that `file_name` starts from.
        annotations_json: the annotation file.
        categories: ids or names of the categories to take; None takes all.
        boxes_as_masks: take the box of an annotation that has no segmentation.
        strict: raise when there are problems; False returns the report with its `problems`.

    Returns:
        `CocoReport`; `str(report)` is a readable summary.

    Raises:
        DataError: the file is missing, is not JSON or not COCO's; with `strict`, one text with every problem.

    Example:
        >>> print(kseg.data.check_coco("fruits_nuts/images", "fruits_nuts/instances.json"))
        images: 14, 0 of them without an object
        size (height x width): 600x800
        objects: 138, at most 13 per image, 0 of them crowds
          class 0 date: 58
          class 1 fig: 36
          class 2 hazelnut: 44
    """
    contents = read_coco(images_dir, annotations_json, categories, boxes_as_masks=boxes_as_masks)

    broken = _unreadable(Path(images_dir) / image.file_name for image in contents.images)
    annotations = [annotation for image in contents.images for annotation in image.annotations]
    by_label = Counter(annotation.label for annotation in annotations)
    sizes = sorted((image.size for image in contents.images), key=lambda size: size[0] * size[1])
    report = CocoReport(
        images=len(contents.images),
        empty=sum(not image.annotations for image in contents.images),
        most=max((len(image.annotations) for image in contents.images), default=0),
        smallest=sizes[0] if sizes else None,
        largest=sizes[-1] if sizes else None,
        class_names=contents.class_names,
        objects=[by_label[label] for label in range(len(contents.class_names))],
        crowds=sum(annotation.crowd for annotation in annotations),
        problems=contents.findings.sentences(harmless=False) + broken,
        warnings=contents.findings.sentences(harmless=True),
    )
    absent = [name for name, count in zip(report.class_names, report.objects, strict=True) if not count]
    if absent and contents.images:
        report.warnings.append(f"categories without an annotation: {listed(absent)}")
    if strict:
        report.raise_for_problems()
    return report


def check_images(sources: Iterable[CocoSource]) -> None:
    """Reads every image of sources in threads.

    Raises:
        DataError: one text that names all that cannot be read.
    """
    # By path: two sources may be parts of one.
    problems = _unreadable({path: None for source in sources for path in source.image_paths})
    if problems:
        raise DataError(counted_problems(problems))


def _unreadable(paths: Iterable[Path]) -> list[str]:
    """A sentence for each image that cannot be read."""

    def problem_of(path: Path) -> str | None:
        try:
            read_image(path)
        except DataError as error:
            return str(error)
        return None

    return [problem for problem in in_threads(problem_of, list(paths)) if problem]
