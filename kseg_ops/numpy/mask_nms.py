"""mask_nms on arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kseg_ops._mask_options import as_nms_options
from kseg_ops._nms_arguments import class_ids_as_int32
from kseg_ops.numpy._arrays import core
from kseg_ops.numpy._masks import as_mask_boxes, as_masks, as_width


class Suppressed(NamedTuple):
    """What non-maximum suppression keeps, best first: `indices` into the input, and their `scores`."""

    indices: np.ndarray
    scores: np.ndarray


def mask_nms(
    masks,
    scores,
    class_ids=None,
    iou_threshold: float = 0.5,
    kind: str = "hard",
    score_threshold: float | None = None,
    max_output_size: int | None = None,
    sigma: float = 0.5,
    width: int | None = None,
    boxes=None,
) -> Suppressed:
    """Drops, or scores down, masks that overlap better ones of their class; `kseg_ops.mask_nms` states it in full.

    Args:
        masks: bool or uint8 `[N, H, W]`, or, with `width`, packed: uint8 `[N, H, ceil(width / 8)]`.
        scores: floating `[N]`, converted to float32.
        class_ids: integers `[N]`, -1 for padding; None: one class.
        iou_threshold: For "hard".
        kind: "hard", "soft" or "matrix".
        score_threshold: Only masks with a score above it are kept; None: no threshold (0 where scores decay).
        max_output_size: Keep at most so many; None: no limit.
        sigma: Of the Gaussian of "soft" and "matrix".
        width: W of packed masks; None for a byte per pixel.
        boxes: float32 `[N, 4]` (x1 y1 x2 y2): pixels that a mask's box does not touch count as background and are not
            read; None: all count.

    Returns:
        `(indices, scores)`: int32 `[K]` by falling score, and float32 `[K]`.

    Raises:
        RuntimeError: The compiled library cannot be used.
        TypeError: A dtype or an argument's type is not supported.
        ValueError: A shape does not fit or an argument is out of range.

    Example:
        >>> mask_nms(np.array([[[1, 1, 1]], [[1, 1, 0]]], np.uint8), [0.8, 0.9]).indices
        array([1], dtype=int32)
    """
    width = as_width(width)
    options = as_nms_options(kind, iou_threshold, score_threshold, max_output_size, sigma)
    masks = as_masks("masks", masks, width)
    scores = np.asarray(scores)
    if scores.dtype.kind != "f" and scores.dtype.name != "bfloat16" and scores.size:
        raise TypeError(f"scores must be floating, got {scores.dtype}")
    with np.errstate(over="ignore", under="ignore"):
        scores = scores.astype(np.float32)
    if class_ids is None:
        class_ids = np.zeros(scores.shape, np.int32)
    class_ids = class_ids_as_int32(class_ids)
    for name, value, rank in (("masks", masks, 3), ("scores", scores, 1), ("class_ids", class_ids, 1)):
        if value.ndim != rank:
            raise ValueError(f"{name} must have rank {rank}, got rank {value.ndim}")
    boxes = as_mask_boxes("boxes", boxes, masks)
    size = options.pop("max_output_size")
    indices, kept, number = core().mask_nms(
        masks[None],
        scores[None],
        class_ids[None],
        max_output_size=-1 if size is None else size,
        width=-1 if width is None else width,
        boxes=None if boxes is None else boxes[None],
        **options,
    )
    return Suppressed(indices[0, : number[0]], kept[0, : number[0]])
