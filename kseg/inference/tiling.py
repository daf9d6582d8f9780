"""Where tiles lie along one image axis, and with what weights they are blended.

A tile of the image is predicted as though it were an image of its own, so two things must be made equal to what the
whole image gives:

- **The pooling grid.** A network of stride s pools cells that begin at multiples of s (shifted by the padding, if it
  pads to the stride inside). Tiles therefore begin at multiples of s, and where the network pads they have a height
  congruent to the image's modulo s: every tile then gets the same padding as the whole image, whichever side it is on.
- **The border.** At an inner edge the network sees its own padding in place of the neighbouring pixels. Pixels within
  the receptive field radius of such an edge are given weight 0; at the image's true border they are kept.

What remains of two neighbours is blended with a raised cosine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class AxisTiles:
    """Tiles along one axis.

    Attributes:
        length: pixels of the image on this axis.
        tile_in: pixels that the model is given.
        tile_out: pixels that it returns (smaller by `2 * margin` for valid padding).
        margin: pixels lost on each side.
        starts: first output pixel of each tile, ascending; the last tile may reach past `length`.
        discard: pixels of weight 0 at every inner edge.
        exact: whether the blend equals what the untiled axis gives (up to rounding).
    """

    length: int
    tile_in: int
    tile_out: int
    margin: int
    starts: tuple[int, ...]
    discard: int = 0
    exact: bool = True

    def __len__(self) -> int:
        return len(self.starts)

    def window(self, index: int) -> tuple[int, int]:
        """`[first, last)` input pixels of a tile; outside `[0, length)` the image is to be mirrored."""
        first = self.starts[index] - self.margin
        return first, first + self.tile_in

    def weights(self) -> list[np.ndarray]:
        """One float32 vector of `tile_out` weights per tile; over all tiles they sum to 1 at every pixel."""
        raw = [self._raw_weights(index) for index in range(len(self))]
        total = np.zeros(self.starts[-1] + self.tile_out)
        for start, weight in zip(self.starts, raw, strict=True):
            total[start : start + self.tile_out] += weight
        return [
            (weight / total[start : start + self.tile_out]).astype(np.float32)
            for start, weight in zip(self.starts, raw, strict=True)
        ]

    def _raw_weights(self, index):
        weight = np.ones(self.tile_out)
        if index > 0:
            shared = self.starts[index - 1] + self.tile_out - self.starts[index]
            weight *= self._ramp(shared)
        if index + 1 < len(self):
            shared = self.starts[index] + self.tile_out - self.starts[index + 1]
            weight *= self._ramp(shared)[::-1]
        return weight

    def _ramp(self, shared):
        """Rises from 0 to 1 over the `shared` first pixels, 0 over the discarded ones."""
        ramp = np.ones(self.tile_out)
        ramp[: self.discard] = 0.0
        zone = shared - 2 * self.discard
        if zone > 0:
            phase = (np.arange(zone) + 0.5) / zone
            ramp[self.discard : self.discard + zone] = np.sin(0.5 * np.pi * phase) ** 2
        return ramp


def plan_axis(
    length: int,
    tile: int | None,
    overlap: int | None,
    *,
    axis_name: str = "height",
    stride: int = 1,
    radius: int | None = None,
    margin: int = 0,
    residue: int = 0,
    fixed: int | None = None,
) -> AxisTiles:
    """Places tiles along one axis.

    Args:
        length: pixels of the image.
        tile: pixels given to the model at once; `None` for the whole axis.
        overlap: pixels that each tile reaches over its share on either side, so that neighbours have `2 * overlap` in
            common; `None` for the exact overlap where it leaves the tile a quarter of itself, else a quarter of the
            tile.
        axis_name: for messages.
        stride: period of the model's pooling grid.
        radius: receptive field radius, `None` if unknown or unbounded.
        margin: pixels that the model loses on each side.
        residue: input sizes modulo stride that it takes, where `margin` is not 0.
        fixed: the only input size that the model takes, or `None`.

    Raises:
        ValueError: the tile is too small for the overlap.
    """
    if fixed is not None:
        tile_in, grows = fixed, True
    elif margin:
        # Whole axis, or the largest size within `tile` that the pooling divides.
        whole = length + 2 * margin + (residue - length - 2 * margin) % stride
        tile_in = whole if tile is None else min(whole, tile - (tile - residue) % stride)
        grows = True
    else:
        tile_in = length if tile is None or tile >= length else tile - (tile - length) % stride
        grows = False
    tile_out = tile_in - 2 * margin
    # Fixed and valid sizes: the last tile reaches past the image into its mirror. Otherwise it ends where the image
    # ends.
    missing = max(0, length - tile_out)
    last = -(-missing // stride) * stride if grows else missing
    clean = None if radius is None else max(0, radius - margin)
    if overlap is None:
        overlap = _default_overlap(tile_out, clean, stride)
    if tile_out < 1 or (last and tile_out - 2 * overlap < stride):
        needed = 2 * overlap + 2 * stride + 2 * margin
        fix = "Lower overlap." if fixed is not None else f"Use a tile of at least {needed}, or a smaller overlap."
        raise ValueError(
            f"tile {axis_name} {tile_in if fixed is not None else tile} is too small for overlap={overlap} on either "
            f"side and stride {stride}"
            + (f" and the {margin} pixels a side that valid padding takes" if margin else "")
            + f". {fix}"
        )
    if last:
        steps = last // stride
        per_tile = (tile_out - 2 * overlap) // stride
        count = -(-steps // per_tile)
        starts = tuple(index * steps // count * stride for index in range(count + 1))
    else:
        starts = (0,)
    exact = not last or (clean is not None and overlap >= clean)
    if not last or clean is None:
        discard = (
            0  # no inner edge; or the error does not come from the edge, and blending all over hides the seams best
        )
    else:
        # Short of exactness, the error is largest at the edge: give up half, blend the other half (the better of the
        # two extremes for overlaps from a fifth of the radius to nearly all of it, on randomly weighted U-Nets).
        discard = clean if exact else overlap // 2
    return AxisTiles(length, tile_in, tile_out, margin, starts, discard, exact)


def _default_overlap(tile_out: int, clean: int | None, stride: int) -> int:
    if clean is not None and tile_out - 2 * clean >= max(tile_out // 4, stride):
        return clean
    return max(0, min(tile_out // 4, (tile_out - stride) // 2))
