"""COCO's JSON, read and checked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from kseg.data.argument_checks import check_class_names
from kseg.data.coco import faults
from kseg.data.coco.faults import Findings
from kseg.data.coco.segmentations import BadSegmentation, as_segmentation
from kseg.data.errors import DataError, listed
from kseg.data.file_source import in_threads
from kseg.data.reading import ImageInfo, probe

_FORMAT = "a dict with the lists 'images', 'annotations' and 'categories' (https://cocodataset.org/#format-data)"


class CocoAnnotation(NamedTuple):
    """One object: its id, class, whether it is a crowd, and its segmentation (see `as_segmentation`)."""

    id: int
    label: int
    crowd: bool
    segmentation: list | dict


@dataclass
class CocoImage:
    """One image: its id, file, and (height, width), None while it is not known."""

    id: int
    file_name: str
    size: tuple[int, int] | None
    annotations: list[CocoAnnotation] = field(default_factory=list)
    info: ImageInfo | None = None


@dataclass
class CocoFile:
    """What an annotation file holds, without what is wrong, and that."""

    images: list[CocoImage]
    category_ids: list[int]
    class_names: list[str]
    findings: Findings


def read_coco(
    images_dir: str | Path,
    annotations_json: str | Path,
    categories: Sequence[int | str] | None = None,
    *,
    boxes_as_masks: bool = False,
    check_files: bool = True,
) -> CocoFile:
    """Reads the file, and the headers of the images.

    Args:
        images_dir: folder that `file_name` starts from.
        annotations_json: the file.
        categories: ids or names of those to take, in the order of the classes; None takes all, by id.
        boxes_as_masks: take the box of an annotation that has no segmentation.
        check_files: read the headers of all images; False only of those whose size the file does not tell.

    Raises:
        DataError: the file is missing, is not JSON, or is not COCO's; `categories` are not there.
    """
    path, images_dir = Path(annotations_json), Path(images_dir)
    content = _load(path)
    if not images_dir.is_dir():
        raise DataError(f"images_dir {images_dir} {'is not a folder' if images_dir.exists() else 'does not exist'}")
    findings = Findings(path)
    category_ids, class_names, known = _categories(path, content["categories"], categories)
    images = _images(content["images"], findings)
    _look_at_files(images, images_dir, check_files, findings)
    label_of = {category: label for label, category in enumerate(category_ids)}
    _annotations(content, images, label_of, known, boxes_as_masks, findings)
    good = [image for image in images.values() if image is not None]
    return CocoFile(good, category_ids, class_names, findings)


def _load(path: Path) -> Mapping:
    if not path.is_file():
        raise DataError(f"annotations_json {path} {'is not a file' if path.exists() else 'does not exist'}")
    try:
        with open(path, encoding="utf-8-sig") as file:
            content = json.load(file)
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is not JSON: {error.msg} in line {error.lineno}, column {error.colno}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not JSON: {error.reason} at byte {error.start}") from error
    except RecursionError as error:
        raise DataError(f"{path} is no annotation file: its lists are nested too deeply, expected {_FORMAT}") from error
    if not isinstance(content, Mapping):
        results = isinstance(content, list) and content and isinstance(content[0], Mapping) and "score" in content[0]
        what = "detections (COCO's result format)" if results else f"a {type(content).__name__}"
        raise DataError(f"{path} holds {what}, expected annotations: {_FORMAT}")
    for name in ("images", "annotations", "categories"):
        if not isinstance(content.get(name), list) or not all(isinstance(entry, Mapping) for entry in content[name]):
            problem = f"no '{name}'" if name not in content else f"'{name}' that are no list of dicts"
            raise DataError(
                f"{path} has {problem}, expected {_FORMAT}. It has {listed(map(repr, content), 8) or 'nothing'}"
            )
    if any("segments_info" in entry for entry in content["annotations"][:1]):
        raise DataError(
            f"{path} holds panoptic annotations, whose masks are in PNG files: take the 'instances' file of the set"
        )
    return content


def _categories(path: Path, entries: list, chosen) -> tuple[list[int], list[str], set]:
    """Ids and names of the classes, and all ids."""
    for entry in entries:
        if not _is_int(entry.get("id")) or not isinstance(entry.get("name"), str):
            raise DataError(f"{path} has a category without an integer id and a name: {dict(entry)!r:.80}")
    ids = [entry["id"] for entry in entries]
    twice = [category for category, count in Counter(ids).items() if count > 1]
    if twice:
        raise DataError(f"{path} lists the category ids {listed(twice)} more than once: give each an id of its own")
    names = {entry["id"]: entry["name"] for entry in sorted(entries, key=lambda entry: entry["id"])}
    if not names:
        raise DataError(f"{path} lists no categories: add one per class of objects")
    if chosen is not None:
        names = {category: names[category] for category in _choose(path, names, chosen)}
    try:
        check_class_names(list(names.values()), where=f"{path}: the names of categories")
    except ValueError as error:
        raise DataError(f"{error}. categories=[...] takes ids, of which one may be left out") from error
    return list(names), list(names.values()), set(ids)


def _choose(path: Path, names: dict[int, str], chosen) -> list[int]:
    if isinstance(chosen, (str, bytes)) or not isinstance(chosen, Sequence) or not chosen:
        raise TypeError(f"categories must be a list of ids or names, or None for all, got {chosen!r}")
    found = []
    for one in chosen:
        ids = [category for category, name in names.items() if one in (category, name)]
        if len(ids) != 1:
            problem = "is not listed in" if not ids else "names several categories of"
            have = listed((f"{category} {name!r}" for category, name in names.items()), 20)
            raise DataError(f"categories: {one!r} {problem} {path}, which has {have}")
        found += ids
    if len(set(found)) != len(found):
        raise DataError(f"categories must be different, got {list(chosen)}")
    return found


def _images(entries: list, findings: Findings) -> dict[int, CocoImage | None]:
    """By id; None is left out, and has been reported."""
    images: dict[int, CocoImage | None] = {}
    for position, entry in enumerate(entries):
        number, name = entry.get("id"), entry.get("file_name")
        size = entry.get("height"), entry.get("width")
        no_size = size == (None, None)
        if not _is_int(number) or not isinstance(name, str) or not (no_size or all(_is_int(x) and x > 0 for x in size)):
            findings.add(faults.BAD_IMAGE, f"images[{position}] {dict(entry)!r:.80}")
            if _is_int(number):
                images[number] = None
        elif number in images:
            other = images[number]
            findings.add(faults.DUPLICATE_IMAGE, f"{number} ({other.file_name if other else '?'}, {name})")
            images[number] = None
        else:
            images[number] = CocoImage(number, name, None if no_size else size)
    return images


def _look_at_files(images: dict[int, CocoImage | None], images_dir: Path, every: bool, findings: Findings) -> None:
    looked_at = [image for image in images.values() if image is not None and (every or image.size is None)]

    def look(image: CocoImage) -> ImageInfo | str | None:
        path = images_dir / image.file_name
        try:
            return probe(path) if path.is_file() else None
        except DataError as error:
            return str(error)

    for image, info in zip(looked_at, in_threads(look, looked_at), strict=True):
        if isinstance(info, ImageInfo):
            problem = other_size(image, (info.height, info.width)) if image.size else None
            if problem:
                findings.add(faults.OTHER_SIZE, problem)
                images[image.id] = None
            image.info, image.size = info, (info.height, info.width)
        else:
            if info is None:
                findings.add(faults.MISSING_FILE, str(images_dir / image.file_name))
            else:
                findings.add(faults.UNREADABLE_FILE, info)
            images[image.id] = None


def other_size(image: CocoImage, size: tuple[int, int]) -> str | None:
    """What to say where the file of an image has another size; None where it has not."""
    if image.size == size:
        return None
    turned = ", turned: annotated without the file's EXIF orientation?" if image.size == size[::-1] else ""
    annotated = f"{image.size[0]}x{image.size[1]}{turned}"
    return f"{image.file_name} is {size[0]}x{size[1]}, according to the annotations {annotated}"


def _annotations(content: Mapping, images: dict, label_of: dict, known: set, boxes_as_masks: bool, findings) -> None:
    """Adds its annotations to each image."""
    seen: set[int] = set()
    for position, entry in enumerate(content["annotations"]):
        number, image_id, category = entry.get("id"), entry.get("image_id"), entry.get("category_id")
        crowd = entry.get("iscrowd", 0)
        if not all(_is_int(value) for value in (number, image_id, category)) or crowd not in (0, 1):
            findings.add(faults.BAD_ANNOTATION, f"annotations[{position}] {_brief(entry)}")
            continue
        if image_id not in images:
            findings.add(faults.UNKNOWN_IMAGE, f"annotation {number} (image_id {image_id})")
            continue
        image = images[image_id]
        if image is None:  # reported
            continue
        who = f"annotation {number} of {image.file_name}"
        if category not in known:
            findings.add(faults.UNKNOWN_CATEGORY, f"{who} (category_id {category})")
            continue
        if number in seen:
            findings.add(faults.DUPLICATE_ANNOTATION, who)
            continue
        seen.add(number)
        if category not in label_of:  # not asked for
            continue
        try:
            segmentation = as_segmentation(
                entry,
                image.size,
                boxes_as_masks,
                lambda fault, detail, who=who: findings.add(fault, _with_detail(who, detail)),
            )
        except BadSegmentation as bad:
            findings.add(bad.fault, _with_detail(who, bad.detail))
            continue
        if segmentation is not None:
            image.annotations.append(CocoAnnotation(number, label_of[category], bool(crowd), segmentation))


def _is_int(value) -> bool:
    """Whether it is an integer that int64 holds, as the ids of a batch have it."""
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _brief(entry: Mapping) -> str:
    return f"{ {name: value for name, value in entry.items() if name not in ('segmentation', 'bbox')}!r:.80}"


def _with_detail(who: str, detail: str) -> str:
    return f"{who} ({detail})" if detail else who
