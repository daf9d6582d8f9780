"""The parts of COCO's evaluation of detections that take time, on NumPy arrays and without TensorFlow.

`kseg.metrics.CocoEvaluator` is the whole evaluation; these are its steps, equal to pycocotools' to the last bit:
`box_iou` or `mask_iou` compare detections with ground truth, `match` gives one to the other, and `accumulate` makes
precision and recall of it.

Detections and ground truth come sorted into groups (an image and a class), one group after the other: entries
`splits[i]` up to `splits[i + 1]` belong to group i. Within a group, detections come by falling score.

With the compiled library the functions run on the threads of the NumPy module (`KSEG_NUM_THREADS`); without it, they
run in NumPy, which is right and slow.

Source: https://cocodataset.org/#detection-eval and https://github.com/cocodataset/cocoapi.
"""

from __future__ import annotations

import types

import numpy as np

from kseg_ops import _library
from kseg_ops._rle_items import take_apart
from kseg_ops.reference import coco_eval as _reference
from kseg_ops.reference import rle as _rle_reference

__all__ = ["accumulate", "box_iou", "mask_iou", "match"]


def box_iou(detections, truths, detection_splits, truth_splits, is_crowd=None) -> np.ndarray:
    """Intersection over union of the boxes of detections and ground truth, in each group.

    Args:
        detections: `[D, 4]`: x, y, width, height in pixels, finite. COCO's form, because converting rounds.
        truths: `[N, 4]`, likewise.
        detection_splits: Integers `[G + 1]` that rise from 0 to D.
        truth_splits: Integers `[G + 1]` that rise from 0 to N.
        is_crowd: Bools `[N]`: what of a detection lies outside a crowd does not count against it, so that the value is
            intersection over area of the detection. None: no crowds.

    Returns:
        float64 `[P]`: group after group, in each a row per detection with a value per ground truth. Boxes that do not
        overlap have 0.

    Raises:
        TypeError: An argument does not hold numbers.
        ValueError: A shape or the splits do not fit, or a box is not finite.

    Example:
        >>> box_iou([[0, 0, 2, 2]], [[1, 0, 2, 2], [0, 0, 2, 2]], [0, 1], [0, 2])
        array([0.33333333, 1.        ])
    """
    detections, truths = _boxes("detections", detections), _boxes("truths", truths)
    crowd = _flags("is_crowd", np.zeros(len(truths), bool) if is_crowd is None else is_crowd)
    splits = _splits("detection_splits", detection_splits), _splits("truth_splits", truth_splits)
    return _kernels().coco_eval_box_iou(detections, truths, *splits, crowd)


def mask_iou(detections, truths, detection_splits, truth_splits, is_crowd=None) -> np.ndarray:
    """`box_iou` of masks.

    Args:
        detections: A list of D RLEs, as `kseg_ops.rle` has them.
        truths: A list of N RLEs; of one size within a group.
        detection_splits: As for `box_iou`.
        truth_splits: As for `box_iou`.
        is_crowd: As for `box_iou`.

    Returns:
        As `box_iou`.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: Splits do not fit, an RLE is malformed, or sizes differ within a group.

    Example:
        >>> one, two = ({"size": [1, 2], "counts": counts} for counts in ([0, 1, 1], [0, 2]))
        >>> mask_iou([one], [one, two], [0, 1], [0, 2])
        array([1. , 0.5])
    """
    a, b = take_apart("detections", detections), take_apart("truths", truths)
    crowd = None if is_crowd is None else _flags("is_crowd", is_crowd)
    splits = _splits("detection_splits", detection_splits), _splits("truth_splits", truth_splits)
    core = _library.core()
    kernels = core if hasattr(core, "rle_iou") else _rle_reference
    return kernels.rle_iou(a.payloads, a.sizes, splits[0], b.payloads, b.sizes, splits[1], crowd)


def match(
    ious, detection_splits, truth_splits, detection_areas, truth_areas, is_crowd, area_ranges, thresholds
) -> tuple[np.ndarray, np.ndarray]:
    """Gives ground truth to detections, for each area range and IoU threshold.

    In order of score, each detection takes the ground truth of greatest IoU, at least the threshold, that is still
    free; of equal ones the last. Crowds are never taken. Ground truth that is a crowd or whose area is out of range is
    ignored: it is only given to a detection that finds no other, which is then ignored as well. So is a detection that
    finds nothing and whose own area is out of range.

    Args:
        ious: `[P]`, from `box_iou` or `mask_iou`.
        detection_splits: As for `box_iou`.
        truth_splits: As for `box_iou`.
        detection_areas: `[D]`, in square pixels.
        truth_areas: `[N]`.
        is_crowd: Bools `[N]`.
        area_ranges: `[A, 2]`, least and greatest area, both included.
        thresholds: `[T]`.

    Returns:
        `matches` int32 `[A, T, D]`, the index of the ground truth among all, or -1; and `ignored` bool `[A, T, D]`.

    Raises:
        TypeError: An argument does not hold numbers.
        ValueError: A shape or the splits do not fit, or a number is NaN.

    Example:
        >>> matches, ignored = match([0.6, 0.9, 0.7, 0.8], [0, 2], [0, 2], [9, 9], [9, 9], [0, 0], [[0, 99]], [0.65])
        >>> matches, ignored
        (array([[[1, 0]]], dtype=int32), array([[[False, False]]]))
    """
    matches, ignored = _kernels().coco_eval_match(
        _numbers("ious", ious, 1),
        _splits("detection_splits", detection_splits),
        _splits("truth_splits", truth_splits),
        _numbers("detection_areas", detection_areas, 1),
        _numbers("truth_areas", truth_areas, 1),
        _flags("is_crowd", is_crowd),
        _numbers("area_ranges", area_ranges, 2),
        _numbers("thresholds", thresholds, 1),
    )
    return matches, ignored.view(np.bool_)


def accumulate(
    scores, ranks, class_splits, matches, ignored, positives, most_detections, recalls
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision and recall of each class from what `match` has found.

    Detections are sorted by class here, and within a class by image and then by falling score. A class's detections are
    counted by falling score; equal scores stay in that order.

    Args:
        scores: `[D]`.
        ranks: Integers `[D]`: each detection's place within its image and class, from 0.
        class_splits: Integers `[K + 1]` that rise from 0 to D.
        matches: int32 `[A, T, D]`, from `match`.
        ignored: Bools `[A, T, D]`, from `match`.
        positives: Integers `[K, A]`: ground truth that is not ignored.
        most_detections: Integers `[M]`: only detections of lower ranks count.
        recalls: `[R]`, rising: where precision is read off.

    Returns:
        float64 precision `[T, R, K, A, M]`, made falling over recall, 0 where the recall is not reached; the highest
        recall `[T, K, A, M]`; and the score `[T, R, K, A, M]` at which each recall is reached. All are -1 where a class
        has no ground truth.

    Raises:
        TypeError: An argument does not hold numbers.
        ValueError: A shape or the splits do not fit, a number is NaN, or `recalls` do not rise.

    Example:
        >>> hits, ignored = np.array([[[0, -1, 1]]], np.int32), np.zeros((1, 1, 3), bool)
        >>> precision, recall, _ = accumulate(
        ...     [0.9, 0.8, 0.7], [0, 1, 2], [0, 3], hits, ignored, [[2]], [100], [0.5, 1]
        ... )
        >>> precision.ravel().round(3).tolist(), recall.ravel().tolist()
        ([1.0, 0.667], [1.0])
    """
    matches = np.asarray(matches)
    if matches.dtype != np.int32 or matches.ndim != 3:
        raise TypeError(f"matches must be int32 [A, T, D], got {matches.dtype} {list(matches.shape)}")
    return _kernels().coco_eval_accumulate(
        _numbers("scores", scores, 1),
        _integers("ranks", ranks, 1),
        _splits("class_splits", class_splits),
        matches,
        _flags("ignored", ignored, 3),
        _integers("positives", positives, 2),
        _integers("most_detections", most_detections, 1),
        _numbers("recalls", recalls, 1),
    )


def _kernels() -> types.ModuleType:
    """The compiled module, or the reference where there is none (or an older one, from before this module)."""
    core = _library.core()
    return core if hasattr(core, "coco_eval_match") else _reference


def _array(name: str, value, rank: int, kinds: str, what: str) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths within
        raise ValueError(f"{name} must have {rank} axes, got {value!r:.80}") from None
    if array.size and array.dtype.kind not in kinds:
        raise TypeError(f"{name} must hold {what}, got {array.dtype}")
    if array.ndim != rank:
        raise ValueError(f"{name} must have {rank} axes, got shape {list(array.shape)}")
    return array


def _numbers(name: str, value, rank: int) -> np.ndarray:
    array = _array(name, value, rank, "iuf", "numbers").astype(np.float64, copy=False)
    if np.isnan(array).any():
        raise ValueError(f"{name} must not hold NaN, got it at position {int(np.isnan(array).argmax())}")
    return array


def _integers(name: str, value, rank: int) -> np.ndarray:
    return _array(name, value, rank, "iu", "integers").astype(np.int64, copy=False)


def _splits(name: str, value) -> np.ndarray:
    return _integers(name, value, 1)


def _flags(name: str, value, rank: int = 1) -> np.ndarray:
    return (_array(name, value, rank, "biu", "bools") != 0).view(np.uint8)


def _boxes(name: str, value) -> np.ndarray:
    boxes = np.asarray(value)
    boxes = _array(name, boxes.reshape(-1, 4) if boxes.size == 0 else boxes, 2, "iuf", "numbers").astype(np.float64)
    if boxes.shape[1] != 4:
        raise ValueError(f"{name} must have shape [N, 4], got {list(boxes.shape)}")
    if not np.isfinite(boxes).all():
        at = int(np.argmin(np.isfinite(boxes).all(axis=1)))
        raise ValueError(f"{name} must be finite, got {boxes[at].tolist()} at position {at}")
    return boxes
