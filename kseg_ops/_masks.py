"""Checks that the ops on binary masks share."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from kseg_ops._checks import MAX_MAP_SIZE, as_int
from kseg_ops._tensors import axis_size, to_boxes, with_shape


class Suppressed(NamedTuple):
    """What non-maximum suppression keeps, best first: `indices` into the input, and their `scores`."""

    indices: tf.Tensor
    scores: tf.Tensor


def as_masks(name: str, value, width: int | None, rank: int) -> tf.Tensor:
    """A bool or uint8 tensor of masks; uint8 where `width` says that they are packed."""
    masks = tf.convert_to_tensor(value)
    if width is not None:
        if masks.dtype != tf.uint8:
            raise TypeError(f"{name} must be uint8 where width is given (packed masks), got {masks.dtype.name}")
    elif masks.dtype not in (tf.bool, tf.uint8):
        raise TypeError(f"{name} must be bool or uint8, got {masks.dtype.name}; compare probabilities with a threshold")
    axes = "[" + "B, " * (rank - 3) + ("N, H, W]" if width is None else "N, H, ceil(width / 8)]")
    if masks.shape.rank not in (None, rank):
        raise ValueError(f"{name} must have shape {axes}, got {masks.shape}")
    if width is not None and masks.shape.rank == rank and masks.shape[-1] not in (None, (width + 7) // 8):
        raise ValueError(f"{name} must have ceil(width / 8) = {(width + 7) // 8} bytes per row, got {masks.shape}")
    return masks


def as_width(value) -> int | None:
    """`width` of packed masks, or None."""
    return None if value is None else as_int("width", value, 0, MAX_MAP_SIZE)


def check_batch(name: str, value: tf.Tensor, masks: tf.TensorShape, axes: int) -> None:
    """ValueError unless `value` has the first `axes` axes of masks."""
    if masks.rank is not None and not value.shape.is_compatible_with(masks[:axes]):
        raise ValueError(f"{name} must have one entry per mask, {masks[:axes]}, got {value.shape}")


def as_mask_boxes(name: str, value, masks: tf.Tensor) -> tf.Tensor | None:
    """Boxes float32 `[N, 4]` of masks `[N, ...]`; None for none."""
    if value is None:
        return None
    boxes = to_boxes(value)
    expected = tf.TensorShape([masks.shape[0] if masks.shape.rank else None, 4])
    message = f"{name} must have shape [N, 4], one box per mask"
    if not boxes.shape.is_compatible_with(expected):
        raise ValueError(f"{message}, {expected}, got {boxes.shape}")
    # Here, because the op takes boxes [0, 4] for none.
    return with_shape(boxes, [axis_size(masks, 0), 4], message)
