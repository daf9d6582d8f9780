"""Segmentations of COCO annotations: checked once, rasterised when they are needed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kseg.data.coco import faults
from kseg.data.coco.faults import Fault
from kseg_ops import rle

# Farther out, `rle.from_polygons` refuses them.
_FARTHEST = 2.0**26
# A box or polygon may end this far outside without a word: annotation tools round.
_SLACK = 1.0


class BadSegmentation(Exception):  # noqa: N818 - a finding, not a failure
    """Carries the fault of an annotation and what there is to say of it."""

    def __init__(self, fault: Fault, detail: str):
        super().__init__(detail)
        self.fault, self.detail = fault, detail


def as_segmentation(annotation: Mapping, size: tuple[int, int], boxes_as_masks: bool, tell) -> list | dict | None:
    """The segmentation of an annotation in the form that `to_rle` takes.

    Args:
        annotation: a dict of the JSON.
        size: height and width of its image.
        boxes_as_masks: whether the box stands in for a segmentation that is not there.
        tell: called with (fault, detail) of what is harmless.

    Returns:
        A list of float64 polygons, or an RLE with compressed counts; None where nothing is left.

    Raises:
        BadSegmentation: it cannot be used.
    """
    segmentation, box = annotation.get("segmentation"), annotation.get("bbox")
    if box is not None and (isinstance(box, Mapping) or len(box)):
        box = _as_box(box)
        _check_inside(*box, size, "bbox")
    if isinstance(segmentation, Mapping):
        return _as_rle(segmentation, size)
    if segmentation is None or (isinstance(segmentation, list) and not segmentation):
        if not boxes_as_masks or box is None or len(box) == 0:
            raise BadSegmentation(faults.NO_SEGMENTATION, "")
        (x1, y1), (x2, y2) = box
        segmentation = [[x1, y1, x2, y1, x2, y2, x1, y2]]
    if not isinstance(segmentation, list):
        raise BadSegmentation(faults.BAD_SEGMENTATION, f"{segmentation!r:.40}")
    polygons = [_as_polygon(polygon) for polygon in segmentation]
    kept = [polygon for polygon in polygons if not _is_line(polygon)]
    for _ in range(len(polygons) - len(kept)):
        tell(faults.NO_AREA, "")
    if not kept:
        return None
    low = np.min([polygon.min(axis=0) for polygon in kept], axis=0)
    high = np.max([polygon.max(axis=0) for polygon in kept], axis=0)
    _check_inside(low, high, size, "polygons")
    if (low < -_SLACK).any() or (high > np.array(size[::-1]) + _SLACK).any():
        tell(faults.CUT_OFF, _extent(low, high, size, "polygons"))
    return [polygon.ravel() for polygon in kept]


def to_rle(segmentation: list | dict, size: tuple[int, int]) -> dict:
    """Rasterises what `as_segmentation` returned."""
    return segmentation if isinstance(segmentation, dict) else rle.from_polygons(segmentation, size)


def _as_numbers(values) -> np.ndarray | None:
    """float64 `[n]`, or None for anything but a flat list of numbers."""
    if not isinstance(values, (list, tuple)):
        return None
    try:
        array = np.asarray(values)
    except ValueError:  # lists of different lengths within
        return None
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iuf"):
        return None
    return array.astype(np.float64)


def _as_box(box) -> tuple[np.ndarray, np.ndarray]:
    """Its corners, each x and y."""
    array = _as_numbers(box)
    if array is None or array.size != 4:
        raise BadSegmentation(faults.BAD_BOX, f"{box!r:.40}")
    _check_finite(array)
    return array[:2], array[:2] + array[2:]


def _as_polygon(polygon) -> np.ndarray:
    """float64 `[points, 2]`."""
    array = _as_numbers(polygon)
    if array is None:
        raise BadSegmentation(faults.BAD_SEGMENTATION, f"{polygon!r:.40}")
    if array.size % 2:
        raise BadSegmentation(faults.ODD_COORDINATES, f"{array.size} coordinates")
    if array.size < 6:
        detail = "four numbers, is it a box?" if array.size == 4 else f"{array.size} coordinates"
        raise BadSegmentation(faults.FEW_POINTS, detail)
    _check_finite(array)
    return array.reshape(-1, 2)


def _check_finite(array: np.ndarray) -> None:
    wrong = ~(np.abs(array) <= _FARTHEST)
    if wrong.any():
        raise BadSegmentation(faults.NOT_FINITE, f"{array[wrong][0]:g}")


def _is_line(polygon: np.ndarray) -> bool:
    """Whether all points lie on a line, or are one point."""
    edges = polygon - polygon[0]
    x, y = edges.T
    far = np.argmax(x * x + y * y)
    # As in exact numbers but for rounding, which is relative to the longest edge and the coordinates.
    scale = np.abs(edges[far]).max() * np.abs(polygon).max()
    return bool((np.abs(x * y[far] - y * x[far]) <= 8 * np.finfo(np.float64).eps * scale).all())


def _check_inside(low, high, size: tuple[int, int], what: str) -> None:
    if (high <= 0).any() or (low >= np.array(size[::-1])).any():
        raise BadSegmentation(faults.OUTSIDE, _extent(low, high, size, what))


def _extent(low, high, size: tuple[int, int], what: str) -> str:
    return (
        f"{what} x {low[0]:g} to {high[0]:g}, y {low[1]:g} to {high[1]:g}, image {size[0]}x{size[1]} (height x width)"
    )


def _as_rle(segmentation: Mapping, size: tuple[int, int]) -> dict:
    if not {"size", "counts"} <= segmentation.keys():
        raise BadSegmentation(faults.BAD_SEGMENTATION, f"a dict of {', '.join(map(repr, segmentation)) or 'nothing'}")
    if list(size) != segmentation["size"]:
        turned = ", turned" if list(size[::-1]) == segmentation["size"] else ""
        raise BadSegmentation(faults.BAD_RLE, f"size {segmentation['size']!r}, image [{size[0]}, {size[1]}]{turned}")
    counts = segmentation["counts"]
    try:
        return rle.from_counts(rle.to_counts({"size": list(size), "counts": counts}), size)
    except (TypeError, ValueError) as error:
        raise BadSegmentation(faults.BAD_RLE, str(error).removeprefix("rles[0] ")) from None
