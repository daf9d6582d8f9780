"""RLEs as Python has them, taken apart and checked. Works without TensorFlow and without the compiled library."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

MOST_PIXELS = 2**31 - 1


class Items(NamedTuple):
    """What the compiled module and the reference take in place of COCO's dicts."""

    payloads: list  # bytes (compressed) or int64 arrays (run lengths)
    sizes: np.ndarray  # int64 [N, 2], heights and widths
    single: bool  # whether one dict was given and not a list of them


def take_apart(name: str, rles) -> Items:
    """The parts of a COCO dict or a list of them; errors name the argument `name`. Run lengths are not checked yet."""
    single = isinstance(rles, Mapping)
    if not single and isinstance(rles, (str, bytes, np.ndarray)):
        raise TypeError(f"{name} must be a dict with 'size' and 'counts' or a list of them, got {type(rles).__name__}")
    try:
        entries = [rles] if single else list(rles)
    except TypeError:
        raise TypeError(
            f"{name} must be a dict with 'size' and 'counts' or a list of them, got {type(rles).__name__}"
        ) from None
    payloads, sizes = [], []
    for index, rle in enumerate(entries):
        try:
            size, counts = rle["size"], rle["counts"]
        except (TypeError, KeyError, IndexError):
            raise TypeError(f"{name}[{index}] must be a dict with 'size' and 'counts', got {rle!r:.80}") from None
        # An evaluation comes with many thousands of dicts: the common forms pass without a call.
        payloads.append(counts if type(counts) is bytes else as_payload(f"{name}[{index}] counts", counts))
        if type(size) is not list or len(size) != 2 or {type(side) for side in size} != {int}:
            size = _as_size(f"{name}[{index}] size", size)
        elif not (0 <= size[0] <= MOST_PIXELS and 0 <= size[1] <= MOST_PIXELS):
            size = as_image_size(f"{name}[{index}] size", size)
        sizes.append(size)
    return Items(payloads, np.array(sizes, np.int64).reshape(-1, 2), single)


def as_payload(name: str, counts) -> bytes | np.ndarray:
    """Compressed counts as bytes, or run lengths as int64."""
    if isinstance(counts, (bytes, bytearray, memoryview)):
        return bytes(counts)
    if isinstance(counts, str):
        try:
            return counts.encode("ascii")
        except UnicodeEncodeError:
            raise ValueError(f"{name} must consist of the characters '0' to 'o', got {counts!r:.80}") from None
    try:
        array = np.asarray(counts)
    except ValueError:  # lists of different lengths within
        array = np.empty((0, 0))
    if array.ndim != 1:
        raise ValueError(f"{name} must be bytes, a string or a list of integers, got {counts!r:.80}")
    if array.size == 0:
        return np.zeros(0, np.int64)
    if array.dtype.kind not in "iu":
        if array.dtype.kind == "O" and all(isinstance(count, int) for count in counts):
            raise ValueError(f"{name} must sum to height * width, got {max(counts, key=abs)}")
        raise TypeError(f"{name} must be bytes, a string or a list of integers, got elements of type {array.dtype}")
    if array.dtype == np.uint64:
        array = np.minimum(array, np.uint64(2**63 - 1))  # too large either way, instead of negative
    return array.astype(np.int64)


def as_flags(is_crowd) -> np.ndarray:
    """uint8 of a list of bools."""
    flags = np.asarray(is_crowd)
    if flags.ndim != 1 or (flags.size and flags.dtype.kind not in "biu"):
        raise TypeError(f"is_crowd must be a list of bools or of zeros and ones, got {is_crowd!r:.80}")
    return (flags != 0).astype(np.uint8)


def as_polygons(polygons) -> list[np.ndarray]:
    """float64 arrays of coordinates, x and y in turn."""
    corners = []
    if isinstance(polygons, (str, bytes)) or not hasattr(polygons, "__iter__"):
        raise TypeError(f"polygons must be a list of lists of coordinates, got {polygons!r:.80}")
    for index, polygon in enumerate(polygons):
        try:
            array = np.asarray(polygon)
        except ValueError:
            array = np.empty((0, 0))
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iuf"):
            raise TypeError(f"polygons[{index}] must be a flat list of coordinates x, y in turn, got {polygon!r:.80}")
        if array.size % 2 == 0 and array.size < 6:
            hint = "; four numbers are a box, which from_boxes takes" if array.size == 4 else ""
            raise ValueError(f"polygons[{index}] must have at least three points, got {array.size // 2}{hint}")
        corners.append(array.astype(np.float64))
    return corners


def as_image_size(name: str, value) -> tuple[int, int]:
    """Height and width of at most `MOST_PIXELS` pixels together."""
    height, width = _as_size(name, value)
    if height < 0 or width < 0:
        raise ValueError(f"{name} must not be negative, got [{height}, {width}]")
    if max(height, width, height * width) > MOST_PIXELS:
        raise ValueError(f"{name} must be at most {MOST_PIXELS} pixels, got [{height}, {width}]")
    return height, width


def _as_size(name: str, value) -> tuple[int, int]:
    try:
        height, width = value
        height, width = operator.index(height), operator.index(width)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be two integers, height and width, got {value!r:.80}") from None
    if max(abs(height), abs(width)) >= 2**63:
        raise ValueError(f"{name} must be at most {MOST_PIXELS} pixels, got [{height}, {width}]")
    return height, width
