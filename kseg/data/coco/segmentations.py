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
    if box is not None and box != []:
        box = _as_box(box)
        if box[0][0] < box[1][0] and box[0][1] < box[1][1]:  # some tools write four zeros where there are polygons
            _check_inside(*box, size, "bbox")
    if isinstance(segmentation, Mapping):
        mask = _as_rle(segmentation, size)
        if rle.area(mask):
            return mask
        tell(faults.NO_PIXEL, "")
        return None
    if segmentation is None or segmentation == []:
        if not boxes_as_masks or not box:
            raise BadSegmentation(faults.NO_SEGMENTATION, "")
        (x1, y1), (x2, y2) = box
        segmentation = [[x1, y1, x2, y1, x2, y2, x1, y2]]
    if not isinstance(segmentation, list):
        raise BadSegmentation(faults.BAD_SEGMENTATION, f"{segmentation!r:.40}")
    polygons, lows, highs = [], [], []
    for entry in segmentation:
        points = _as_points(entry)
        low, high = points.min(axis=0).tolist(), points.max(axis=0).tolist()  # NaN if there is one
        for value in low + high:
            _check_finite(value)
        if _is_line(points):
            tell(faults.NO_AREA, "")
        else:
            polygons.append(points.ravel())
            lows.append(low)
            highs.append(high)
    if not polygons:
        return None
    low, high = (
        [min(values) for values in zip(*lows, strict=True)],
        [max(values) for values in zip(*highs, strict=True)],
    )
    _check_inside(low, high, size, "polygons")
    if min(low) < -_SLACK or high[0] > size[1] + _SLACK or high[1] > size[0] + _SLACK:
        tell(faults.CUT_OFF, _extent(low, high, size, "polygons"))
    return polygons


def to_rle(segmentation: list | dict, size: tuple[int, int]) -> dict:
    """Rasterises what `as_segmentation` returned."""
    return segmentation if isinstance(segmentation, dict) else rle.from_polygons(segmentation, size)


# A large data set has a million annotations: what is done with two or four numbers is done without NumPy.


def _as_box(box) -> tuple[list[float], list[float]]:
    """Its corners, each x and y."""
    if not isinstance(box, list) or len(box) != 4 or not all(type(value) in (int, float) for value in box):
        raise BadSegmentation(faults.BAD_BOX, f"{box!r:.40}")
    for value in box:
        _check_finite(value)
    if min(box[2:]) < 0:
        raise BadSegmentation(faults.BAD_BOX, f"{box!r:.40}")
    return box[:2], [box[0] + box[2], box[1] + box[3]]


def _as_points(polygon) -> np.ndarray:
    """float64 `[points, 2]`."""
    try:
        array = np.asarray(polygon) if isinstance(polygon, list) else None
    except ValueError:  # lists of different lengths within
        array = None
    if array is None or array.ndim != 1 or (array.size and array.dtype.kind not in "iuf"):
        raise BadSegmentation(faults.BAD_SEGMENTATION, f"{polygon!r:.40}")
    if array.size % 2:
        raise BadSegmentation(faults.ODD_COORDINATES, f"{array.size} coordinates")
    if array.size < 6:
        detail = "four numbers, is it a box?" if array.size == 4 else f"{array.size} coordinates"
        raise BadSegmentation(faults.FEW_POINTS, detail)
    return array.astype(np.float64).reshape(-1, 2)


def _check_finite(value: float) -> None:
    if not -_FARTHEST <= value <= _FARTHEST:  # also of NaN
        raise BadSegmentation(faults.NOT_FINITE, f"{value!r:.20}")


def _is_line(points: np.ndarray) -> bool:
    """Whether all points lie on a line, or are one point."""
    edges = points - points[0]
    x, y = edges.T
    far = np.argmax(x * x + y * y)
    # Of doubled areas, as they are but for the rounding of the coordinates.
    scale = np.abs(edges[far]).max() * np.abs(points).max()
    return bool(np.abs(x * y[far] - y * x[far]).max() <= 8 * np.finfo(np.float64).eps * scale)


def _check_inside(low, high, size: tuple[int, int], what: str) -> None:
    if high[0] <= 0 or high[1] <= 0 or low[0] >= size[1] or low[1] >= size[0]:
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
