"""batched_nms on arrays."""

from __future__ import annotations

import numpy as np

from kseg_ops._nms_arguments import BatchedNMS, as_batched_options, class_ids_as_int32
from kseg_ops.numpy._arrays import as_boxes, as_scores, core


def batched_nms(
    boxes,
    scores,
    iou_threshold: float = 0.5,
    score_threshold: float | None = None,
    max_output_size: int = 100,
    max_per_class: int | None = None,
    class_ids=None,
    kind: str = "hard",
    sigma: float = 0.5,
    matrix_kernel: str = "gaussian",
    class_agnostic: bool = False,
) -> BatchedNMS:
    """Hard, soft or matrix suppression of a batch; `kseg_ops.batched_nms` states the semantics in full.

    Args:
        boxes: `[B, N, 4]` or `[B, N, C, 4]`, x1 y1 x2 y2; converted to float32. 16-bit floats are refused.
        scores: `[B, N]` or `[B, N, C]`, floating.
        iou_threshold: Of hard and linear suppression, 0 to 1.
        score_threshold: What scores must be above; None for no threshold.
        max_output_size: How many places each image has, `M`.
        max_per_class: How many of one class are kept at most; None for any number.
        class_ids: `[B, N]`, integers, negative for padding, with scores `[B, N]`; None for one class.
        kind: `"hard"`, `"linear"`, `"gaussian"` or `"matrix"`.
        sigma: Of the Gaussian functions.
        matrix_kernel: `"gaussian"` or `"linear"`.
        class_agnostic: Whether candidates of different classes meet.

    Returns:
        A named tuple of boxes `[B, M, 4]`, scores `[B, M]`, classes `[B, M]`, indices `[B, M]` and num_valid `[B]`.

    Raises:
        RuntimeError: The compiled library cannot be used.
        TypeError: An array or argument is not of its kind.
        ValueError: A shape does not fit, or an argument is out of range.

    Example:
        >>> boxes = [[[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]]]
        >>> batched_nms(boxes, [[0.8, 0.9, 0.1]], max_output_size=3).indices
        array([[ 1,  2, -1]], dtype=int32)
    """
    options = as_batched_options(
        iou_threshold, score_threshold, max_output_size, max_per_class, kind, sigma, matrix_kernel, class_agnostic
    )
    scores = as_scores(scores)
    ids = np.zeros((0, 0), np.int32) if class_ids is None else class_ids_as_int32(class_ids)
    if class_ids is not None and (scores.ndim != 2 or ids.shape != scores.shape):
        raise ValueError(
            f"class_ids must have the shape of scores, which must be [B, N]; got {ids.shape} and {scores.shape}"
        )
    return BatchedNMS(*core().batched_nms(as_boxes(boxes), scores, ids, **options._asdict()))
