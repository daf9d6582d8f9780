"""Detections and ground truth of a whole data set, one entry per instance."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Instances:
    """Instances of some images; all arrays have one entry per instance.

    Attributes:
        images: int64 `(N,)`, the number of the image, counted from the first that was added.
        classes: int64 `(N,)`.
        boxes: float64 `(N, 4)`: x, y, width, height, as COCO has them.
        areas: float64 `(N,)` in square pixels: of detections those of the masks, NaN where there are none.
        scores: float64 `(N,)`, of detections.
        crowd: bool `(N,)`, of ground truth.
        rles: masks as COCO's dicts, or None where there are none.
    """

    images: np.ndarray
    classes: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    scores: np.ndarray
    crowd: np.ndarray
    rles: list[dict] | None

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: np.ndarray) -> Instances:
        """Those at some places, in that order."""
        rles = None if self.rles is None else [self.rles[index] for index in indices.tolist()]
        arrays = (self.images, self.classes, self.boxes, self.areas, self.scores, self.crowd)
        return Instances(*(array[indices] for array in arrays), rles)

    @classmethod
    def join(cls, parts: list[Instances]) -> Instances:
        """All of some, one after the other; masks only if all have them."""
        names = ("images", "classes", "boxes", "areas", "scores", "crowd")
        rles = None
        if all(part.rles is not None for part in parts):
            rles = [rle for part in parts for rle in part.rles]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names), rles)


def make_instances(images, classes, boxes, areas=None, scores=None, crowd=None, rles=None) -> Instances:
    """Instances of arrays and lists; what is not given is NaN, or False for `crowd`."""
    count = len(images)
    missing = np.full(count, np.nan)
    return Instances(
        np.asarray(images, np.int64),
        np.asarray(classes, np.int64),
        np.asarray(boxes, np.float64).reshape(count, 4),
        missing if areas is None else np.asarray(areas, np.float64),
        missing if scores is None else np.asarray(scores, np.float64),
        np.zeros(count, bool) if crowd is None else np.asarray(crowd, bool),
        rles,
    )


@dataclass
class CocoDataSet:
    """What an evaluation has been given so far.

    Attributes:
        image_ids: One per image, in the order in which they came.
        truths, detections: Parts that `joined` puts together.
    """

    image_ids: list = field(default_factory=list)
    truths: list[Instances] = field(default_factory=list)
    detections: list[Instances] = field(default_factory=list)

    def __post_init__(self):
        self._known = set(self.image_ids)

    def add(self, image_ids: list, truths: Instances, detections: Instances) -> None:
        """Adds some images.

        Raises:
            ValueError: An image was there before, or is there twice.
        """
        if len(set(image_ids)) != len(image_ids) or not self._known.isdisjoint(image_ids):
            seen = set(self._known)
            for position, image_id in enumerate(image_ids):
                if image_id in seen:
                    raise ValueError(
                        f'targets["image_ids"] must be new, got {image_id} at position {position} for the second time; '
                        "reset_state() before another evaluation"
                    )
                seen.add(image_id)
        self._known.update(image_ids)
        self.image_ids += image_ids
        self.truths.append(truths)
        self.detections.append(detections)

    def joined(self) -> tuple[Instances, Instances]:
        """Ground truth and detections of all images, the images numbered by rising id."""
        places = np.empty(len(self.image_ids), np.int64)
        places[sorted(range(len(places)), key=self.image_ids.__getitem__)] = np.arange(len(places))
        both = []
        for parts in (self.truths, self.detections):
            instances = Instances.join(parts) if parts else make_instances([], [], [], rles=[])
            instances.images = places[instances.images]
            both.append(instances)
        return both[0], both[1]
