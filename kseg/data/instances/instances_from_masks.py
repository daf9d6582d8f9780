"""Objects from a map of their ids."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from kseg.data.errors import DataError, listed
from kseg.data.instances.instances import Instances
from kseg.data.instances.packed_masks import row_bytes, write_crop


def instances_from_masks(
    ids, labels=None, *, first_label: int = 1, background: int = 0, crowd_ids: Iterable[int] = ()
) -> Instances:
    """The objects of an image in which every pixel holds the id of its object.

    Args:
        ids: integers `(H, W)`; equal numbers are one object, also where it consists of several parts.
        labels: integers `(H, W)`, the semantic label of each pixel, of which an object has one only. None: all objects
            are of class 0.
        first_label: the label of class 0. 1: the labels have a background, 0, which instances have not.
        background: the id of pixels that belong to no object.
        crowd_ids: ids of regions of many objects that were not told apart.

    Returns:
        `Instances` in the order of their ids; `instances.as_targets(100)` are the targets of a model.

    Raises:
        TypeError, ValueError: an argument of another type or shape, named.
        DataError: an object with several labels, or with one below `first_label`.

    Example:
        >>> ids = np.array([[0, 7, 7], [3, 3, 0]])
        >>> instances = kseg.data.instances_from_masks(ids, labels=np.array([[0, 1, 1], [2, 2, 0]]))
        >>> instances.classes, instances.boxes[0]
        (array([1, 0], dtype=int32), array([0, 1, 2, 2], dtype=int32))
    """
    ids = _as_map("ids", ids)
    height, width = ids.shape
    y, x = np.nonzero(ids != background)
    found, of_pixel = np.unique(ids[y, x], return_inverse=True)
    order = np.argsort(of_pixel.ravel(), kind="stable")
    starts = np.searchsorted(of_pixel.ravel()[order], np.arange(len(found)))
    y, x = y[order], x[order]
    if labels is None:
        classes = np.zeros(len(found), np.int32)
    else:
        labels = _as_map("labels", labels)
        if labels.shape != ids.shape:
            raise ValueError(f"labels must have the shape of ids, {list(ids.shape)}, got {list(labels.shape)}")
        classes = _classes(found, labels[y, x], starts, first_label)
    masks = np.zeros((len(found), height, row_bytes(width)), np.uint8)
    boxes = np.zeros((len(found), 4), np.int32)
    if len(found):
        edges = [np.minimum.reduceat(axis, starts) for axis in (x, y)]
        edges += [np.maximum.reduceat(axis, starts) + 1 for axis in (x, y)]
        boxes[:] = np.stack(edges, axis=1)
    for mask, number, (x1, y1, x2, y2) in zip(masks, found, boxes.tolist(), strict=True):
        write_crop(mask, ids[y1:y2, x1:x2] == number, y1, x1)
    return Instances(masks, classes, (height, width), np.isin(found, list(crowd_ids)), boxes)


def _as_map(name: str, value) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got {array.dtype}")
    if array.ndim != 2:
        raise ValueError(f"{name} must have shape (H, W), got {list(array.shape)}: one image at a time")
    return array


def _classes(found: np.ndarray, labels: np.ndarray, starts: np.ndarray, first_label: int) -> np.ndarray:
    if not len(found):
        return np.zeros(0, np.int32)
    low, high = (reduce.reduceat(labels.astype(np.int64), starts) for reduce in (np.minimum, np.maximum))
    mixed = np.flatnonzero(low != high)
    if mixed.size:
        many = listed(f"id {found[k]} (labels {low[k]} to {high[k]})" for k in mixed)
        raise DataError(
            f"an object has one class, but labels differ within {many}: give the parts ids of their own, or correct "
            "the labels"
        )
    below = np.flatnonzero(low < first_label)
    if below.size:
        raise DataError(
            f"labels of objects must be at least first_label={first_label}, the label of class 0, got "
            f"{listed(f'{low[k]} for id {found[k]}' for k in below)}"
        )
    return (low - first_label).astype(np.int32)
