"""Run-length encoded masks and polygons as COCO has them, on NumPy arrays and without TensorFlow.

An RLE is COCO's dict `{"size": [H, W], "counts": ...}`. Its counts are the lengths of the runs of a mask that is read
column by column, zeros first: as bytes or a string in COCO's compressed form, or as a list of integers. Every function
takes all three and returns bytes, byte for byte those of pycocotools (`.decode()` them for JSON). At most 2**31 - 1
pixels per mask, as there.

Where a function takes several RLEs, it also takes one: then the result has no leading axis either.

With the compiled library the functions run on the threads of the NumPy module (`KSEG_NUM_THREADS`); without it, in
NumPy, which is right and slow.

Malformed input (truncated or illegal text, negative counts, counts that do not sum to `H * W`) raises ValueError;
something of the wrong kind altogether raises TypeError. The message names the argument and the entry.

Format: https://cocodataset.org/#format-data and the C source of https://github.com/cocodataset/cocoapi.
"""

from __future__ import annotations

import itertools
import types
from collections.abc import Sequence
from typing import Any

import numpy as np

from kseg_ops import _library
from kseg_ops._checks import as_flag, as_int
from kseg_ops._mask_options import as_number
from kseg_ops._rle_items import MOST_PIXELS, Items, as_flags, as_image_size, as_payload, as_polygons, take_apart
from kseg_ops.reference import rle as _reference

__all__ = [
    "area",
    "boundary",
    "decode",
    "decode_packed",
    "encode",
    "encode_packed",
    "from_boxes",
    "from_counts",
    "from_polygons",
    "iou",
    "iou_groups",
    "merge",
    "to_boxes",
    "to_counts",
]

Rle = dict[str, Any]


def encode(masks) -> Rle | list[Rle]:
    """Masks to RLEs.

    Args:
        masks: `[H, W]` or `[N, H, W]`, bool or integers; what is not 0 belongs to the mask.

    Returns:
        A dict for `[H, W]`, a list of N dicts for `[N, H, W]`.

    Example:
        >>> encode(np.array([[0, 1], [0, 1]], np.uint8))
        {'size': [2, 2], 'counts': b'22'}
    """
    masks = np.asarray(masks)
    if masks.dtype.kind not in "biu":
        raise TypeError(f"masks must be bool or integers, got {masks.dtype}")
    if masks.ndim not in (2, 3):
        raise ValueError(f"masks must have shape [H, W] or [N, H, W], got {list(masks.shape)}")
    if masks.dtype == bool:
        masks = masks.view(np.uint8)
    elif masks.dtype != np.uint8:
        masks = (masks != 0).view(np.uint8)
    return _as_dicts(_kernels().rle_encode(_batched(masks)), masks.shape[-2:], masks)


def encode_packed(packed, width: int) -> Rle | list[Rle]:
    """Bit-packed masks to RLEs.

    Args:
        packed: uint8 `[H, ceil(width / 8)]` or `[N, H, ceil(width / 8)]`: pixel x is bit `x % 8`, lowest first, of byte
            `x // 8`, as `np.packbits(masks, axis=-1, bitorder="little")` makes them. Bits beyond the width are ignored.
        width: The width W of the masks.

    Returns:
        As `encode`.

    Example:
        >>> encode_packed(np.array([[0b10], [0b10]], np.uint8), width=2)
        {'size': [2, 2], 'counts': b'22'}
    """
    packed = np.asarray(packed)
    width = as_int("width", width, 0, MOST_PIXELS)
    if packed.dtype != np.uint8:
        raise TypeError(f"packed must be uint8, got {packed.dtype}")
    if packed.ndim not in (2, 3):
        raise ValueError(f"packed must have shape [H, ceil(width / 8)] or [N, H, ceil(width / 8)], got {packed.shape}")
    return _as_dicts(_kernels().rle_encode_packed(_batched(packed), width), (packed.shape[-2], width), packed)


def decode(rles) -> np.ndarray:
    """RLEs to masks.

    Args:
        rles: A dict, or a list of dicts of one size.

    Returns:
        uint8 `[H, W]` for a dict, `[N, H, W]` for a list (`[0, 0, 0]` for an empty one), of zeros and ones. (The axes
        of pycocotools are `[H, W, N]`.)

    Example:
        >>> decode({"size": [2, 2], "counts": [2, 2]})
        array([[0, 1],
               [0, 1]], dtype=uint8)
    """
    items = take_apart("rles", rles)
    masks = _kernels().rle_decode(items.payloads, items.sizes, False)
    return masks[0] if items.single else masks


def decode_packed(rles) -> np.ndarray:
    """RLEs to bit-packed masks, the dense form of which never exists.

    Args:
        rles: A dict, or a list of dicts of one size.

    Returns:
        uint8 `[H, ceil(W / 8)]` for a dict, `[N, H, ceil(W / 8)]` for a list; the layout is that of `encode_packed`.

    Example:
        >>> decode_packed({"size": [2, 2], "counts": [2, 2]})
        array([[2],
               [2]], dtype=uint8)
    """
    items = take_apart("rles", rles)
    masks = _kernels().rle_decode(items.payloads, items.sizes, True)
    return masks[0] if items.single else masks


def area(rles) -> np.ndarray | int:
    """Pixels per mask: an int for a dict, int64 `[N]` for a list.

    Example:
        >>> area({"size": [2, 2], "counts": [1, 3]})
        3
    """
    items = take_apart("rles", rles)
    areas = _kernels().rle_area(items.payloads, items.sizes)
    return int(areas[0]) if items.single else areas


def to_boxes(rles) -> np.ndarray:
    """The tightest box around each mask.

    Args:
        rles: A dict or a list of dicts; sizes may differ.

    Returns:
        float32 `[4]` for a dict, `[N, 4]` for a list: `x1, y1, x2, y2` in pixels, `x2` and `y2` being the index of the
        last pixel + 1. Zeros for an empty mask. COCO's `toBbox` gives `x, y, width, height` (`x2 - x1`, `y2 - y1`) as
        float64. Exact for images of up to 2**24 pixels a side.

    Example:
        >>> to_boxes({"size": [2, 3], "counts": [4, 2]})
        array([2., 0., 3., 2.], dtype=float32)
    """
    items = take_apart("rles", rles)
    boxes = _kernels().rle_to_boxes(items.payloads, items.sizes).astype(np.float32)
    return boxes[0] if items.single else boxes


def boundary(rles, dilation_ratio: float = 0.02) -> Rle | list[Rle]:
    """Pixels of masks that are near to one outside the mask, or the image: see Boundary IoU, Cheng et al. 2021.

    Args:
        rles: A dict or a list of dicts; sizes may differ.
        dilation_ratio: How near (in rows and columns), as a part of the image's diagonal; rounded, at least 1 pixel.

    Returns:
        A dict or a list of dicts.

    Example:
        >>> to_counts(boundary({"size": [3, 4], "counts": [0, 12]}))
        [0, 4, 1, 2, 1, 4]
    """
    items = take_apart("rles", rles)
    ratio = as_number("dilation_ratio", dilation_ratio, 0, 1)
    reaches = np.maximum(np.rint(ratio * np.sqrt((items.sizes.astype(np.float64) ** 2).sum(1))), 1).astype(np.int64)
    made = _kernels().rle_boundary(items.payloads, items.sizes, reaches)
    dicts = [_as_dict(size, text) for size, text in zip(items.sizes, made, strict=True)]
    return dicts[0] if items.single else dicts


def iou(a, b, is_crowd=None) -> np.ndarray:
    """Intersection over union of every mask of `a` (detections) with every mask of `b` (ground truth).

    Args:
        a: A dict or a list of D dicts.
        b: A dict or a list of G dicts, of the same size.
        is_crowd: Bools `[G]` (or one for a dict): pixels of a detection outside a crowd do not count against it, so
            that its value is intersection over area of `a`. None: no crowds.

    Returns:
        float64 `[D, G]`, equal to pycocotools' to the last bit. A pair of which neither has a pixel has an IoU of 0.
        (The axes of dicts are dropped.)

    Raises:
        ValueError: Also where sizes differ; pycocotools answers -1 there.

    Example:
        >>> iou([{"size": [1, 4], "counts": [0, 2, 2]}], [{"size": [1, 4], "counts": [1, 2, 1]}])
        array([[0.33333333]])
    """
    of_a, of_b = take_apart("a", a), take_apart("b", b)
    crowd = None if is_crowd is None else as_flags([is_crowd] if of_b.single else is_crowd)
    values = _iou(of_a, [len(of_a.payloads)], of_b, [len(of_b.payloads)], crowd)
    values = values.reshape(len(of_a.payloads), len(of_b.payloads))
    return values[(0 if of_a.single else slice(None), 0 if of_b.single else slice(None))]


def iou_groups(a: Sequence, b: Sequence, is_crowd: Sequence | None = None) -> list[np.ndarray]:
    """`iou` of many small groups in one call, as an evaluation over the images of a data set needs them.

    Args:
        a: Per group (an image and category, say) a list of dicts.
        b: Likewise; as many groups. Sizes may differ from group to group.
        is_crowd: Per group the bools of its `b`, or None.

    Returns:
        Per group float64 `[len(a[i]), len(b[i])]`.

    Example:
        >>> one, two = ({"size": [1, 2], "counts": counts} for counts in ([0, 1, 1], [0, 2]))
        >>> [values.tolist() for values in iou_groups([[one], [two]], [[one, two], []])]
        [[[1.0, 0.5]], [[]]]
    """
    a, b = list(a), list(b)
    if len(a) != len(b):
        raise ValueError(f"a and b must have equally many groups, got {len(a)} and {len(b)}")
    sizes_a, sizes_b = [len(group) for group in a], [len(group) for group in b]
    crowd = None
    if is_crowd is not None:
        flags = list(is_crowd)
        if [len(group) for group in flags] != sizes_b:
            raise ValueError("is_crowd must have one entry per mask of b in every group")
        crowd = as_flags(list(itertools.chain.from_iterable(flags)))
    of_a = take_apart("a", list(itertools.chain.from_iterable(a)))
    of_b = take_apart("b", list(itertools.chain.from_iterable(b)))
    values = _iou(of_a, sizes_a, of_b, sizes_b, crowd)
    cuts = np.cumsum([rows * columns for rows, columns in zip(sizes_a, sizes_b, strict=True)])[:-1]
    parts = np.split(values, cuts) if a else []
    return [part.reshape(shape) for part, shape in zip(parts, zip(sizes_a, sizes_b, strict=True), strict=True)]


def merge(rles, intersect: bool = False) -> Rle:
    """The union of masks, or with `intersect` their intersection.

    Args:
        rles: A list of at least one dict, all of one size.
        intersect: Keep the pixels of all masks instead of those of any.

    Returns:
        A dict. No run but the first has length 0, whatever came in (pycocotools hands on what it was given).

    Example:
        >>> merge([{"size": [1, 3], "counts": [0, 1, 2]}, {"size": [1, 3], "counts": [2, 1]}])
        {'size': [1, 3], 'counts': b'0110'}
    """
    items = take_apart("rles", rles)
    (counts,) = _kernels().rle_merge(items.payloads, items.sizes, as_flag("intersect", intersect))
    return _as_dict(items.sizes[0].tolist(), counts)


def from_polygons(polygons, image_size: tuple[int, int]) -> Rle:
    """The union of polygons, rasterised as COCO does, to the bit: `merge` of `frPyObjects`.

    COCO snaps corners to a grid of fifths of a pixel; a pixel belongs to a polygon if, along its column's middle, the
    outline has been crossed an odd number of times above its centre.

    Args:
        polygons: A list of polygons `[x1, y1, x2, y2, ...]` in pixels, at least three points each and closed by
            themselves, as in a COCO annotation's `segmentation`. Parts outside the image are cut off. No polygon: an
            empty mask.
        image_size: Height and width `(H, W)`.

    Returns:
        A dict.

    Raises:
        ValueError: Also for an odd number of coordinates, for fewer than three points (four numbers are a box to COCO:
            see `from_boxes`), and for coordinates that are NaN or more than 2**26 pixels from the origin.

    Example:
        >>> from_polygons([[1, 0, 3, 0, 3, 2, 1, 2]], (2, 4))
        {'size': [2, 4], 'counts': b'242'}
    """
    size = as_image_size("image_size", image_size)
    corners = as_polygons(polygons)
    (counts,) = _kernels().rle_from_polygons(corners, size)
    return _as_dict(size, counts)


def from_boxes(boxes, image_size: tuple[int, int]) -> Rle | list[Rle]:
    """Boxes as masks, rasterised as the polygons of their corners are: what pycocotools' `frPyObjects` makes of boxes.

    Args:
        boxes: `[4]` or `[N, 4]`: `x1, y1, x2, y2` in pixels (COCO's own are `x, y, width, height`).
        image_size: Height and width `(H, W)`.

    Returns:
        A dict for `[4]`, a list of N dicts for `[N, 4]`.

    Example:
        >>> from_boxes([1, 0, 3, 2], (2, 4))
        {'size': [2, 4], 'counts': b'242'}
    """
    size = as_image_size("image_size", image_size)
    boxes = np.asarray(boxes)
    if boxes.size and boxes.dtype.kind not in "iuf":
        raise TypeError(f"boxes must be numbers, got {boxes.dtype}")
    if boxes.ndim not in (1, 2) or boxes.shape[-1] != 4:
        raise ValueError(f"boxes must have shape [4] or [N, 4], got {list(boxes.shape)}")
    kernels = _kernels()
    made = []
    for index, box in enumerate(boxes.reshape(-1, 4).astype(np.float64)):
        try:
            (counts,) = kernels.rle_from_polygons([box[[0, 1, 0, 3, 2, 3, 2, 1]]], size)
        except ValueError as error:
            raise ValueError(str(error).replace("polygons[0]", f"boxes[{index}]")) from None
        made.append(_as_dict(size, counts))
    return made[0] if boxes.ndim == 1 else made


def from_counts(counts, image_size: tuple[int, int]) -> Rle | list[Rle]:
    """Compresses run lengths.

    Args:
        counts: A list of integers, or a list of such lists for several masks of one size.
        image_size: Height and width `(H, W)`.

    Returns:
        A dict, or a list of dicts. Runs of length 0 stay.

    Example:
        >>> from_counts([2, 2], (2, 2))
        {'size': [2, 2], 'counts': b'22'}
    """
    size = as_image_size("image_size", image_size)
    if isinstance(counts, (str, bytes)) or not hasattr(counts, "__len__"):
        raise TypeError(f"counts must be a list of integers or a list of such lists, got {counts!r:.80}")
    single = len(counts) > 0 and not hasattr(counts[0], "__len__")
    payloads = [
        as_payload("counts" if single else f"counts[{index}]", entry)
        for index, entry in enumerate([counts] if single else counts)
    ]
    sizes = np.broadcast_to(np.array(size, np.int64), (len(payloads), 2))
    try:
        made = _kernels().rle_compress(payloads, np.ascontiguousarray(sizes), "counts")
    except ValueError as error:
        raise ValueError(str(error).replace("] counts ", "] ", 1)) from None
    dicts = [_as_dict(size, text) for text in made]
    return dicts[0] if single else dicts


def to_counts(rles) -> list[int] | list[list[int]]:
    """The run lengths of RLEs: a list of integers for a dict, a list of lists for a list.

    Example:
        >>> to_counts({"size": [2, 2], "counts": b"22"})
        [2, 2]
    """
    items = take_apart("rles", rles)
    counts = [array.tolist() for array in _kernels().rle_to_counts(items.payloads, items.sizes)]
    return counts[0] if items.single else counts


def _kernels() -> types.ModuleType:
    """The compiled module, or the reference where there is none (or an older one, from before these functions)."""
    core = _library.core()
    return core if hasattr(core, "rle_boundary") else _reference


def _batched(masks: np.ndarray) -> np.ndarray:
    return masks[None] if masks.ndim == 2 else masks


def _as_dict(size, counts: bytes) -> Rle:
    return {"size": [int(size[0]), int(size[1])], "counts": counts}


def _as_dicts(texts: list[bytes], size, masks: np.ndarray) -> Rle | list[Rle]:
    dicts = [_as_dict(size, text) for text in texts]
    return dicts[0] if masks.ndim == 2 else dicts


def _iou(a: Items, sizes_a: list[int], b: Items, sizes_b: list[int], crowd: np.ndarray | None) -> np.ndarray:
    splits = [np.cumsum([0, *sizes]).astype(np.int64) for sizes in (sizes_a, sizes_b)]
    return _kernels().rle_iou(a.payloads, a.sizes, splits[0], b.payloads, b.sizes, splits[1], crowd)
