"""nms on arrays."""

from __future__ import annotations

import numpy as np

from kseg_ops._nms_arguments import as_iou_threshold, as_limit, as_score_threshold, class_ids_as_int32
from kseg_ops.numpy._arrays import as_boxes, as_scores, core


def nms(
    boxes,
    scores,
    iou_threshold: float,
    max_output_size: int | None = None,
    score_threshold: float | None = None,
    class_ids=None,
) -> np.ndarray:
    """Non-maximum suppression of boxes; `kseg_ops.nms` states the semantics in full.

    Args:
        boxes: `[N, 4]`, x1 y1 x2 y2; converted to float32. 16-bit floats are refused.
        scores: `[N]`, floating.
        iou_threshold: 0 to 1; boxes whose IoU with a better one is above it are dropped.
        max_output_size: How many are kept at most; None for any number.
        score_threshold: What scores must be above; None for no threshold.
        class_ids: `[N]`, integers, negative for padding; boxes of different classes do not meet. None for one class.

    Returns:
        int32 `[K]`: indices of the kept boxes, best first.

    Raises:
        RuntimeError: The compiled library cannot be used.
        TypeError: An array or argument is not of its kind.
        ValueError: A shape does not fit, or an argument is out of range.

    Example:
        >>> nms([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]], [0.8, 0.9, 0.1], iou_threshold=0.5)
        array([1, 2], dtype=int32)
    """
    count = np.shape(boxes)[0] if np.ndim(boxes) else 0
    ids = np.zeros(0, np.int32) if class_ids is None else class_ids_as_int32(class_ids)
    if class_ids is not None and ids.shape != (count,):
        raise ValueError(f"class_ids must have one entry per box, got shape {ids.shape} for {count} boxes")
    return core().nms(
        as_boxes(boxes),
        as_scores(scores),
        ids,
        as_iou_threshold(iou_threshold),
        as_score_threshold(score_threshold),
        as_limit("max_output_size", max_output_size, 0),
    )
