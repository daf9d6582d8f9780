"""The specification of `kseg_ops.rle`, in NumPy: slow and plain, and what runs without the compiled library.

A mask is read column by column. Its counts are the lengths of the runs of equal pixels, the first of zeros (perhaps 0
of them). The compressed form writes each count, or from the fourth on its difference to the count two before, in groups
of five bits, lowest first, as the characters from "0" on: 0x20 marks that more groups follow, and 0x10 of the last one
is the sign.

The functions have the names and arguments of those in the compiled module.
"""

from __future__ import annotations

import numpy as np

from kseg_ops._rle_items import MOST_PIXELS, as_image_size

# Coordinates of polygons: five times as fine a grid, within int32, as COCO's library has it.
_SCALE = 5
_MOST_COORDINATE = 2**26
_MOST_CROSSINGS = 2**27


def rle_encode(masks: np.ndarray) -> list[bytes]:
    """Masks `[N, H, W]` to compressed counts."""
    as_image_size("the size of masks", masks.shape[1:])
    return [_to_text(_runs(mask)) for mask in masks]


def rle_encode_packed(packed: np.ndarray, width: int) -> list[bytes]:
    """Bit-packed masks `[N, H, ceil(width / 8)]` to compressed counts."""
    if width < 0 or packed.shape[2] != (width + 7) // 8:
        raise ValueError(
            f"width must be that of the packed masks, which have {packed.shape[2]} bytes per row, got {width}"
        )
    return rle_encode(np.unpackbits(packed, axis=2, count=width, bitorder="little"))


def rle_decode(payloads: list, sizes: np.ndarray, packed: bool) -> np.ndarray:
    """Counts to uint8 `[N, H, W]`, or packed."""
    rles = _parse(payloads, sizes, "rles")
    if len({tuple(size) for size in sizes.tolist()}) > 1:
        raise ValueError("rles must have one size")
    height, width = sizes[0].tolist() if len(sizes) else (0, 0)
    masks = np.zeros((len(rles), height, width), np.uint8)
    for mask, counts in zip(masks, rles, strict=True):
        mask[...] = np.repeat(np.arange(len(counts)) % 2, counts).reshape(width, height).T
    return np.packbits(masks, axis=2, bitorder="little") if packed else masks


def rle_area(payloads: list, sizes: np.ndarray) -> np.ndarray:
    """Pixels of ones, int64 `[N]`."""
    return np.array([counts[1::2].sum() for counts in _parse(payloads, sizes, "rles")], np.int64)


def rle_to_boxes(payloads: list, sizes: np.ndarray) -> np.ndarray:
    """The boxes around the ones, int64 `[N, 4]`; zeros for an empty mask."""
    boxes = np.zeros((len(payloads), 4), np.int64)
    for index, counts in enumerate(_parse(payloads, sizes, "rles")):
        height = int(sizes[index, 0])
        begin, end = _intervals(counts)
        if len(begin):
            first, last = begin // height, (end - 1) // height
            # A run that goes on in the next column reaches from its foot to the top of that.
            top = np.where(first != last, 0, begin - first * height)
            bottom = np.where(first != last, height, end - first * height)
            boxes[index] = first.min(), top.min(), last.max() + 1, bottom.max()
    return boxes


def rle_boundary(payloads: list, sizes: np.ndarray, reaches: np.ndarray) -> list[bytes]:
    """What each mask loses when it is eroded `reach` times by 3 x 3 pixels."""
    rles = _parse(payloads, sizes, "rles")
    if len(reaches) != len(rles) or (reaches < 1).any() or (reaches > MOST_PIXELS).any():
        raise ValueError(f"reaches must have one entry per mask, {len(rles)}, in 1..{MOST_PIXELS}")
    texts = []
    for counts, (height, width), reach in zip(rles, sizes.tolist(), reaches.tolist(), strict=True):
        mask = np.repeat(np.arange(len(counts)) % 2, counts).reshape(width, height).T
        # Sums over the squares around all pixels, of which the outside adds nothing.
        reach = min(reach, height + width)
        sums = np.zeros((height + 1, width + 1), np.int64)
        sums[1:, 1:] = mask.cumsum(0).cumsum(1)
        above, below = (np.clip(np.arange(height) + by, 0, height) for by in (-reach, reach + 1))
        before, after = (np.clip(np.arange(width) + by, 0, width) for by in (-reach, reach + 1))
        rows, columns = sums[below] - sums[above], (2 * reach + 1) ** 2
        texts.append(_to_text(_runs(mask * (rows[:, after] - rows[:, before] < columns))))
    return texts


def rle_to_counts(payloads: list, sizes: np.ndarray) -> list[np.ndarray]:
    """The run lengths of each mask."""
    return _parse(payloads, sizes, "rles")


def rle_compress(payloads: list, sizes: np.ndarray, argument: str) -> list[bytes]:
    """The compressed form of each mask; errors call the masks `argument`."""
    return [_to_text(counts) for counts in _parse(payloads, sizes, argument)]


def rle_merge(payloads: list, sizes: np.ndarray, intersect: bool) -> list[bytes]:
    """The union or intersection of all masks, as a list of one."""
    rles = _parse(payloads, sizes, "rles")
    if not rles:
        raise ValueError("rles must hold at least one mask")
    for size in sizes.tolist():
        if size != sizes[0].tolist():
            raise ValueError(f"rles must have one size, got {sizes[0].tolist()} and {size}")
    pixels = int(sizes[0, 0]) * int(sizes[0, 1])
    intervals = [_intervals(counts) for counts in rles]
    positions, covering = _coverage([begin for begin, _ in intervals], [end for _, end in intervals])
    inside = covering >= (len(rles) if intersect else 1)
    return [_to_text(_counts_between(positions[np.diff(inside, prepend=False)], pixels))]


def rle_from_polygons(polygons: list, image_size: tuple[int, int]) -> list[bytes]:
    """The union of polygons, float64 arrays of x and y in turn, as a list of one."""
    height, width = as_image_size("image_size", image_size)
    parts = []
    for index, corners in enumerate(polygons):
        if len(corners) % 2:
            raise ValueError(f"polygons[{index}] must hold pairs of x and y, got {len(corners)} coordinates")
        parts.append(_to_text(_polygon(corners.reshape(-1, 2), height, width, f"polygons[{index}]")))
    if len(parts) == 1:
        return parts
    parts = parts or [_to_text(np.array([height * width]))]
    return rle_merge(parts, np.full((len(parts), 2), (height, width)), False)


def rle_iou(a, a_sizes, a_splits, b, b_sizes, b_splits, is_crowd=None) -> np.ndarray:
    """The IoU of all pairs within each group, group after group and row after row."""
    of_a = [_intervals(counts) for counts in _parse(a, a_sizes, "a")]
    of_b = [_intervals(counts) for counts in _parse(b, b_sizes, "b")]
    if is_crowd is not None and len(is_crowd) != len(of_b):
        raise ValueError(f"is_crowd must have one entry per mask of b, {len(of_b)}, got {len(is_crowd)}")
    values = []
    for group in range(len(a_splits) - 1):
        for i in range(a_splits[group], a_splits[group + 1]):
            for j in range(b_splits[group], b_splits[group + 1]):
                if a_sizes[i].tolist() != b_sizes[j].tolist():
                    raise ValueError(
                        f"a and b must have one size, got {a_sizes[i].tolist()} of a[{i}] and {b_sizes[j].tolist()} "
                        f"of b[{j}]"
                    )
                values.append(_iou(of_a[i], of_b[j], is_crowd is not None and is_crowd[j]))
    return np.array(values, np.float64)


def _iou(a, b, crowd) -> float:
    positions, covering = _coverage([a[0], b[0]], [a[1], b[1]])
    common = np.diff(positions, append=0)[covering == 2].sum()
    area_a, area_b = (int((end - begin).sum()) for begin, end in (a, b))
    return float(common) / float(area_a if crowd else area_a + area_b - common) if common else 0.0


def _parse(payloads: list, sizes: np.ndarray, name: str) -> list[np.ndarray]:
    """Run lengths, checked: they are not negative and sum to the number of pixels."""
    result = []
    for index, (payload, size) in enumerate(zip(payloads, sizes.tolist(), strict=True)):
        height, width = as_image_size(f"{name}[{index}] size", size)
        given = _from_text(payload, f"{name}[{index}] counts") if isinstance(payload, bytes) else payload.tolist()
        total = 0
        for position, count in enumerate(given):
            if isinstance(payload, bytes) and position > 2:
                count = given[position] = count + given[position - 2]
            if count < 0:
                raise ValueError(f"{name}[{index}] counts must not be negative, got {count} at position {position}")
            total += count
            if total > height * width:
                raise ValueError(
                    f"{name}[{index}] counts must sum to height * width = {height * width}, got more at position "
                    f"{position}"
                )
        if total != height * width:
            raise ValueError(f"{name}[{index}] counts must sum to height * width = {height * width}, got {total}")
        result.append(np.array(given, np.int64))
    return result


def _from_text(text: bytes, name: str) -> list[int]:
    """The numbers of the compressed form, those from the fourth on still being differences."""
    numbers, value, shift = [], 0, 0
    for position, code in enumerate(text):
        group = code - 48
        if not 0 <= group <= 63:
            raise ValueError(
                f"{name} must consist of the characters '0' to 'o', got code {code} at position {position}"
            )
        if shift == 35:
            raise ValueError(f"{name} holds a number that is too long at position {position}")
        value |= (group & 0x1F) << shift
        shift += 5
        if not group & 0x20:
            numbers.append(value - (1 << shift) if group & 0x10 else value)
            value, shift = 0, 0
    if shift:
        raise ValueError(f"{name} is truncated: it ends within a number")
    return numbers


def _to_text(counts: np.ndarray) -> bytes:
    text = bytearray()
    numbers = np.asarray(counts, np.int64).copy()
    numbers[3:] -= numbers[1:-2].copy()
    for number in numbers.tolist():
        more = True
        while more:
            group = number & 0x1F
            number >>= 5
            more = number != -1 if group & 0x10 else number != 0
            text.append((group | (0x20 if more else 0)) + 48)
    return bytes(text)


def _runs(mask: np.ndarray) -> np.ndarray:
    line = (mask != 0).T.ravel()
    return _counts_between(np.flatnonzero(np.diff(line, prepend=False)), line.size)


def _counts_between(changes: np.ndarray, pixels: int) -> np.ndarray:
    """The counts of a mask that changes at rising positions; a change at its end is none."""
    changes = changes[changes < pixels]
    return np.diff(np.concatenate([[0], changes, [pixels]]).astype(np.int64))


def _intervals(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the runs of ones begin and end, those of length 0 left out."""
    ends = np.cumsum(counts)[1::2]
    begins = ends - counts[1::2]
    return begins[begins < ends], ends[begins < ends]


def _coverage(begins: list[np.ndarray], ends: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Positions where the number of masks that cover them changes, and how many cover what follows each."""
    changes = np.concatenate(
        [*(np.stack([at, np.ones_like(at)]) for at in begins)] + [*(np.stack([at, -np.ones_like(at)]) for at in ends)],
        axis=1,
    )
    positions, where = np.unique(changes[0], return_inverse=True)
    return positions, np.cumsum(np.bincount(where.ravel(), changes[1], len(positions))).astype(np.int64)


def _polygon(corners: np.ndarray, height: int, width: int, name: str) -> np.ndarray:
    """COCO's rasterisation of one polygon.

    The mask changes where an edge, a line of steps on the fine grid, crosses the middle of a column: between its fine
    columns 5x + 2 and 5x + 3.
    """
    wrong = ~(np.abs(corners.ravel()) <= _MOST_COORDINATE)
    if wrong.any():
        position = int(wrong.argmax())
        raise ValueError(
            f"{name} must be finite and within {_MOST_COORDINATE} pixels of the origin, got "
            f"{corners.ravel()[position]:g} at position {position}"
        )
    fine = np.trunc(_SCALE * corners + 0.5).astype(np.int64)
    edges = list(zip(fine, np.roll(fine, -1, axis=0), strict=True)) if height else []
    spans = []
    for (from_x, _), (to_x, _) in edges:
        low, high = min(from_x, to_x), max(from_x, to_x)
        first = 0 if low <= 2 else -((2 - low) // _SCALE)
        stop = 0 if high < 3 else min((high - 3) // _SCALE + 1, width)
        spans.append((int(first), max(int(first), int(stop))))
    crossings = sum(stop - first for first, stop in spans)
    if crossings > _MOST_CROSSINGS:
        raise ValueError(f"{name} must cross at most {_MOST_CROSSINGS} columns of pixels in all, got {crossings}")
    changes = [np.zeros(0, np.int64)]
    for edge, span in zip(edges, spans, strict=True):
        if span[0] < span[1]:
            columns = np.arange(*span)
            rows = np.clip((_fine_rows(*edge, _SCALE * columns + 2) + 0.5) / _SCALE - 0.5, 0, height)
            changes.append(columns * height + np.ceil(rows).astype(np.int64))
    positions, times = np.unique(np.concatenate(changes), return_counts=True)
    return _counts_between(positions[times % 2 == 1], height * width)


def _fine_rows(begin: np.ndarray, end: np.ndarray, left: np.ndarray) -> np.ndarray:
    """The lower of the fine rows on both sides of each crossing, from fine column `left` to the next."""
    dx, dy = np.abs(end - begin)
    if begin[0] > end[0] if dx >= dy else begin[1] > end[1]:
        begin, end = end, begin
    if dx >= dy:
        slope = np.float64(end[1] - begin[1]) / np.float64(dx)
        step = (left - begin[0])[None] + np.array([[0], [1]])
        return np.trunc(begin[1] + slope * step + 0.5).min(axis=0)
    slope = np.float64(end[0] - begin[0]) / np.float64(dy)
    # The first step beyond the crossing, among those next to where it lies but for rounding.
    guess = np.clip(np.trunc((left + 0.5 - begin[0]) / slope), 1, dy)
    step = np.clip(guess + np.arange(-4, 5)[:, None], 1, dy)
    column = np.trunc(begin[0] + slope * step + 0.5)
    beyond = column > left if slope > 0 else column <= left
    return begin[1] + np.take_along_axis(step, beyond.argmax(axis=0)[None], axis=0)[0] - 1
