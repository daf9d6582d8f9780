"""Ground truth and results in COCO's format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from kseg.metrics.coco_instances import Instances, make_instances
from kseg_ops import rle


def read_coco(annotations, results, *, masks: bool, boxes: bool) -> tuple[list[str], list[int], Instances, Instances]:
    """Reads ground truth and results.

    Args:
        annotations: File, or what it holds.
        results: File, or the list in it.
        masks: Whether masks are needed.
        boxes: Whether boxes are needed.

    Returns:
        Names of the categories by rising id, ids of the images, ground truth and detections.

    Raises:
        OSError: A file cannot be read.
        ValueError: Something in them is malformed; the message names the entry.
    """
    truth = load_json("annotations", annotations)
    if not isinstance(truth, Mapping) or any(key not in truth for key in ("images", "categories", "annotations")):
        raise ValueError(
            f"annotations must be a dictionary with images, categories and annotations, got {_kind(annotations, truth)}"
        )
    for key in ("images", "categories", "annotations"):
        if not isinstance(truth[key], Sequence) or isinstance(truth[key], str):
            raise ValueError(f"annotations must hold a list of {key}, got {truth[key]!r:.80}")
    found = load_json("results", results)
    if not isinstance(found, Sequence) or isinstance(found, str):
        raise ValueError(f"results must be a list of dictionaries, got {_kind(results, found)}")
    categories = _by_id("annotations: categories", truth["categories"])
    images = _by_id("annotations: images", truth["images"])
    classes = {category_id: index for index, category_id in enumerate(sorted(categories))}
    numbers = {image_id: index for index, image_id in enumerate(images)}
    names = [str(categories[category_id].get("name", category_id)) for category_id in sorted(categories)]
    truths = _Entries("annotations", truth["annotations"], numbers, classes)
    truths.check_ids()
    detections = _Entries("results", found, numbers, classes)
    truths.read_masks(images, masks)
    of_truths = truths.instances(truths.boxes(boxes), areas=truths.annotated_areas(), crowd=truths.crowd())
    scores = detections.numbers("score")
    detections.read_masks(images, masks or (boxes and not detections.all_have("bbox")))
    of_detections = detections.instances(detections.boxes(boxes), areas=detections.mask_areas, scores=scores)
    return names, list(images), of_truths, of_detections


class _Entries:
    """Annotations or results."""

    def __init__(self, name: str, entries, images: dict, classes: dict):
        self.name = name
        self.entries = entries
        self.image_numbers = self._look_up("image_id", images, "images")
        self.class_numbers = self._look_up("category_id", classes, "categories")
        self.rles: list[dict] | None = None
        self.mask_areas: np.ndarray | None = None

    def _look_up(self, key: str, known: dict, where: str) -> list[int]:
        try:
            return [known[entry[key]] for entry in self.entries]
        except (KeyError, TypeError):
            pass
        for index, entry in enumerate(self.entries):
            if not isinstance(entry, Mapping) or key not in entry:
                raise ValueError(f"{self.name}[{index}] must be a dictionary with {key}, got {entry!r:.80}")
            if not isinstance(entry[key], (int, str)) or entry[key] not in known:
                raise ValueError(
                    f"{self.name}[{index}] {key} must be that of one of the annotations' {where}, got {entry[key]!r}"
                )
        raise ValueError(f"{self.name} must be a list of dictionaries with {key}")

    def check_ids(self) -> None:
        """That no entry is there twice: a second one could be found only by a second detection."""
        seen = set()
        for index, entry in enumerate(self.entries):
            number = entry.get("id")
            if number is not None and number in seen:
                raise ValueError(
                    f"{self.name}[{index}] must have an id of its own, got {number!r} for the second time: are files "
                    "merged, or objects there twice?"
                )
            seen.add(number)

    def numbers(self, key: str) -> np.ndarray:
        try:
            values = np.array([entry[key] for entry in self.entries])
        except (KeyError, TypeError, ValueError):
            values = np.zeros((0, 0))
        # Of another kind: texts, or numbers beyond 64 bits.
        if values.ndim != 1 or (values.size and values.dtype.kind not in "iuf") or not np.isfinite(values).all():
            for index, entry in enumerate(self.entries):
                value = entry.get(key)
                if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not np.isfinite(value):
                    raise ValueError(f"{self.name}[{index}] {key} must be a finite number, got {value!r}")
        return values.astype(np.float64)

    def all_have(self, key: str) -> bool:
        return all(key in entry for entry in self.entries)

    def crowd(self) -> np.ndarray:
        return np.array([bool(entry.get("iscrowd", 0)) for entry in self.entries], bool)

    def annotated_areas(self) -> np.ndarray:
        """As annotated; where they are not, of masks or boxes."""
        if self.all_have("area"):
            return self.numbers("area")
        if self.mask_areas is not None:
            return self.mask_areas
        sides = self.boxes(True)[:, 2:]
        return sides[:, 0] * sides[:, 1]

    def boxes(self, needed: bool) -> np.ndarray:
        """x, y, width, height; of masks where there are no boxes."""
        entries = self.entries
        if not needed:
            return np.zeros((len(entries), 4))
        if self.rles is not None and not self.all_have("bbox"):
            corners = rle.to_boxes(self.rles).astype(np.float64)
            return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        try:
            boxes = np.array([entry["bbox"] for entry in entries], np.float64).reshape(len(entries), 4)
            if np.isfinite(boxes).all() and not (boxes[:, 2:] < 0).any():
                return boxes
        except (KeyError, TypeError, ValueError):
            pass
        for index, entry in enumerate(entries):
            box = entry.get("bbox")
            try:
                numbers = np.asarray(box, np.float64)
                fits = np.shape(box) == (4,) and np.isfinite(numbers).all() and not (numbers[2:] < 0).any()
            except (TypeError, ValueError):
                fits = False
            if not fits:
                raise ValueError(
                    f"{self.name}[{index}] bbox must be x, y, width and height, finite and the last two at least 0, "
                    f"got {box!r:.80}"
                )
        raise ValueError(f"{self.name} must have boxes")

    def read_masks(self, images: dict, needed: bool) -> None:
        """Sets `rles`, of the image's size, and `mask_areas`."""
        if not needed or self.rles is not None:
            return
        rles = []
        for index, entry in enumerate(self.entries):
            segmentation = entry.get("segmentation")
            image = images[entry["image_id"]]
            try:
                size = [image["height"], image["width"]]
            except KeyError as error:
                raise ValueError(f"annotations: image {entry['image_id']!r} must have {error}") from None
            if isinstance(segmentation, Mapping):
                if list(segmentation.get("size", ())) != size:
                    raise ValueError(
                        f"{self.name}[{index}] segmentation must have its image's size {size}, got "
                        f"{segmentation.get('size')}"
                    )
                rles.append(segmentation)
            elif isinstance(segmentation, Sequence) and not isinstance(segmentation, str):
                try:
                    rles.append(rle.from_polygons(segmentation, tuple(size)))
                except (TypeError, ValueError) as error:
                    raise ValueError(f"{self.name}[{index}] segmentation: {error}") from None
            else:
                raise ValueError(
                    f"{self.name}[{index}] segmentation must be an RLE or a list of polygons, got "
                    f"{segmentation!r:.80}; boxes alone are evaluated with iou_type='box'"
                )
        try:
            self.mask_areas = rle.area(rles).astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"segmentation of {str(error).replace('rles', self.name, 1)}") from None
        self.rles = rles

    def instances(self, boxes: np.ndarray, **parts) -> Instances:
        return make_instances(self.image_numbers, self.class_numbers, boxes, rles=self.rles, **parts)


def load_json(name: str, given):
    """What a JSON file holds; anything but a path is handed back. Errors call it `name`."""
    if not isinstance(given, (str, Path)):
        return given
    try:
        return json.loads(Path(given).read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{name}: {given} is not JSON: {error}") from None
    except RecursionError:
        raise ValueError(f"{name}: {given} is not what it should be: its lists are nested too deeply") from None


def _kind(given, loaded) -> str:
    where = f" in {given}" if isinstance(given, (str, Path)) else ""
    keys = f" with the keys {sorted(map(str, loaded))}" if isinstance(loaded, Mapping) else ""
    return f"{type(loaded).__name__}{keys}{where}"


def _by_id(name: str, entries) -> dict:
    found = {}
    for index, entry in enumerate(entries):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("id"), (int, str)):
            raise ValueError(f"{name}[{index}] must be a dictionary with id, a number or a text, got {entry!r:.80}")
        if entry["id"] in found:
            raise ValueError(f"{name}[{index}] must have an id of its own, got {entry['id']!r} for the second time")
        found[entry["id"]] = entry
    return found
