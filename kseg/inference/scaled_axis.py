"""Where a rescaled image is cut so that it gives the tiles of the image itself.

The image at scale s is not made: each tile of the image (`AxisTiles`) takes the part of it that it needs, resampled
by the geometry of the whole. Two things are as in `kseg.inference.tiling`, at the scale:

- Parts begin on the model's pooling grid *of the rescaled image*, and where the network pads they have its size modulo
  the stride.
- A part reaches one receptive field radius, *in rescaled pixels*, beyond the pixels of the tile that have a weight. At
  scale 1/2 that is twice as far in the image: the part then sees more of the image than the tile.

So the tiles of every scale blend as exactly as those of scale 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kseg.inference.resampling import Taps, bilinear_taps, mirrored_pixels
from kseg.inference.tiling import AxisTiles


@dataclass(frozen=True)
class ScaledAxis:
    """The parts of one rescaled axis.

    Attributes:
        tiles: the tiles of the image.
        length: pixels of the rescaled image on this axis.
        part_in: pixels that the model is given, the same for all parts.
        part_out: pixels that it returns.
        starts: first rescaled output pixel of the part of each tile.
    """

    tiles: AxisTiles
    length: int
    part_in: int
    part_out: int
    starts: tuple[int, ...]

    def source(self, index: int) -> tuple[tuple[int, int], Taps]:
        """`[first, last)` pixels of the image that the part of a tile is made of, and how."""
        wanted = self.starts[index] - self.tiles.margin + np.arange(self.part_in)
        wanted = mirrored_pixels(wanted, self.length)
        taps = bilinear_taps(wanted, self.length, self.tiles.length, antialias=True)
        first, last = int(taps.indices.min()), int(taps.indices.max()) + 1
        return (first, last), taps.shifted(first)

    def result(self, index: int) -> Taps:
        """How the pixels of a tile are made of the output of its part; those beyond the image repeat the last one."""
        first = self.tiles.starts[index]
        wanted = np.minimum(first + np.arange(self.tiles.tile_out), self.tiles.length - 1)
        taps = bilinear_taps(wanted, self.tiles.length, self.length, antialias=False).shifted(self.starts[index])
        # Pixels of the tile that have no weight may lie beyond the part.
        return Taps(taps.indices.clip(0, self.part_out - 1), taps.weights)


def plan_scaled_axis(
    tiles: AxisTiles, scale: float, *, stride: int = 1, radius: int | None = None, residue: int = 0
) -> ScaledAxis:
    """Places the parts of one axis.

    Args:
        tiles: of the image.
        scale: the rescaled image is `round(length * scale)` pixels long, at least 1.
        stride: period of the model's pooling grid.
        radius: receptive field radius, `None` if unknown or unbounded.
        residue: input sizes modulo stride that a model with valid padding takes.
    """
    length = max(1, round(tiles.length * scale))
    margin, grows = tiles.margin, bool(tiles.margin)
    # Short of exactness there is as much context as the tile has at scale 1.
    context = max(0, radius - margin) if tiles.exact and radius is not None else int(np.ceil(tiles.discard * scale))
    spans = [_needed(tiles, index, length, context) for index in range(len(tiles))]
    spans = [(first - first % stride, last) for first, last in spans]
    out = max(last - first for first, last in spans)
    if grows:
        out += (residue - out - 2 * margin) % stride
        starts = tuple(first for first, _ in spans)
    else:
        out = min(length, out + (length - out) % stride)
        starts = tuple(min(first, length - out) for first, _ in spans)
    return ScaledAxis(tiles, length, out + 2 * margin, out, starts)


def _needed(tiles, index, length, context):
    """`[first, last)` rescaled pixels that the pixels of a tile with a weight are made of, with their context."""
    first = tiles.starts[index] + (tiles.discard if index else 0)
    last = tiles.starts[index] + tiles.tile_out - (tiles.discard if index + 1 < len(tiles) else 0)
    wanted = np.array([first, min(last, tiles.length) - 1])
    taps = bilinear_taps(wanted, tiles.length, length, antialias=False)
    return max(0, int(taps.indices.min()) - context), min(length, int(taps.indices.max()) + 1 + context)
