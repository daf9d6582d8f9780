"""Bit-packed masks in NumPy: their boxes and areas, and moving them along the axes, one instance at a time.

A dense mask exists for one instance and within its box only, so a hundred large masks never cost more than their bits.
"""

from __future__ import annotations

import numpy as np

_BITS = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


def row_bytes(width: int) -> int:
    """Bytes of a packed row."""
    return (width + 7) // 8


def boxes_of(masks: np.ndarray, width: int) -> np.ndarray:
    """The tightest boxes of packed masks `[N, H, ceil(W / 8)]`, int32 `[N, 4]` x1 y1 x2 y2; zeros for empty ones."""
    boxes = np.zeros((len(masks), 4), np.int32)
    for box, mask in zip(boxes, masks, strict=True):
        rows = np.flatnonzero(mask.any(axis=1))
        if rows.size:
            columns = np.flatnonzero(np.unpackbits(np.bitwise_or.reduce(mask), count=width, bitorder="little"))
            box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes


def areas_of(masks: np.ndarray) -> np.ndarray:
    """Pixels per mask, int64 `[N]`."""
    return np.array([_BITS[mask].sum(dtype=np.int64) for mask in masks], np.int64)


def write_crop(mask: np.ndarray, crop: np.ndarray, top: int, left: int) -> None:
    """Sets the pixels of a packed mask `[H, ceil(W / 8)]` that a dense `crop` has, its corner being (top, left)."""
    height, width = crop.shape
    first, end = left // 8, row_bytes(left + width)
    padded = np.zeros((height, 8 * (end - first)), np.uint8)
    padded[:, left - 8 * first : left - 8 * first + width] = crop
    mask[top : top + height, first:end] |= np.packbits(padded, axis=1, bitorder="little")


def resample(
    masks: np.ndarray, boxes: np.ndarray, rows: np.ndarray, columns: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masks whose pixel (i, j) is the pixel (rows[i], columns[j]) of what they were.

    Args:
        masks: packed `[N, H, ceil(W / 8)]`.
        boxes: their boxes, int32 `[N, 4]`.
        rows: monotone source indices, `[h]`.
        columns: likewise, `[w]`.
        size: of the result, at least (h, w); the rest, below and to the right, is empty.

    Returns:
        Packed masks and int32 boxes of those that still have a pixel, and their indices.
    """
    moved = np.zeros((len(masks), size[0], row_bytes(size[1])), np.uint8)
    moved_boxes, kept = [], []
    for index, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        top, bottom = _within(rows, y1, y2)
        left, right = _within(columns, x1, x2)
        if top >= bottom or left >= right:
            continue
        first = x1 // 8
        strip = masks[index, rows[top:bottom], first : row_bytes(x2)]
        crop = np.unpackbits(strip, axis=1, bitorder="little").take(columns[left:right] - 8 * first, axis=1)
        across, down = np.flatnonzero(crop.any(axis=0)), np.flatnonzero(crop.any(axis=1))
        if not down.size:
            continue
        write_crop(moved[len(kept)], crop, top, left)
        moved_boxes.append((left + across[0], top + down[0], left + across[-1] + 1, top + down[-1] + 1))
        kept.append(index)
    return moved[: len(kept)], np.array(moved_boxes, np.int32).reshape(-1, 4), np.array(kept, np.int64)


def _within(indices: np.ndarray, low: int, high: int) -> tuple[int, int]:
    """Where monotone `indices` lie in low..high-1: a range."""
    inside = np.flatnonzero((indices >= low) & (indices < high))
    return (int(inside[0]), int(inside[-1]) + 1) if inside.size else (0, 0)
