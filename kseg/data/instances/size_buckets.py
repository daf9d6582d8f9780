"""The few sizes that the batches of a data set have."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

from kseg.data.cropping import pair_of_sizes

# Sides that are multiples of the coarsest stride of a feature pyramid P2..P5 waste nothing there.
_MULTIPLE = 32


class SizeBuckets:
    """Canvases of fixed size, and how large an image is drawn on which: a batch holds images of one canvas.

    An image keeps its shape. It goes to the canvas on which it is drawn largest, of several to the smallest, and the
    rest of the canvas, below and to the right, is padding.

    Args:
        sizes: (height, width) of each canvas in pixels.
        min_side: length that the shorter side of an image gets, at most, or None.
        max_side: length that the longer side gets, at most, or None.

    Raises:
        ValueError: no size, or a side below 1.

    Example:
        >>> buckets = SizeBuckets.of_sides(800, 1333)
        >>> buckets.sizes
        [(800, 1088), (800, 1344), (1088, 800), (1344, 800)]
        >>> buckets.choose((480, 640)), buckets.scale((480, 640), (800, 1088))
        (0, 1.6666666666666667)
    """

    def __init__(self, sizes: Sequence[tuple[int, int]], min_side: int | None = None, max_side: int | None = None):
        self.sizes = [pair_of_sizes("image_size", size) for size in sizes]
        if not self.sizes:
            raise ValueError("image_size must hold at least one (height, width), got none")
        self.min_side, self.max_side = min_side, max_side

    @classmethod
    def of_sides(cls, min_side: int, max_side: int) -> SizeBuckets:
        """Upright and lying canvases for images of up to 4:3 and for longer ones, sides being multiples of 32."""
        for name, value in (("min_side", min_side), ("max_side", max_side)):
            if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
                raise ValueError(f"{name} must be an integer of at least 1, in pixels, got {value!r}")
        if min_side > max_side:
            raise ValueError(f"min_side must be at most max_side, got {min_side} and {max_side}")
        short = _rounded_up(min_side)
        longs = sorted({_rounded_up(min(-(-4 * min_side // 3), max_side)), _rounded_up(max_side)})
        sizes = [(short, long) for long in longs] + [(long, short) for long in longs if long != short]
        return cls(sizes, min_side, max_side)

    @classmethod
    def of(cls, image_size, min_side: int | None, max_side: int | None) -> SizeBuckets:
        """From the arguments of `kseg.data.instance_pipeline`.

        Raises:
            ValueError: both kinds of arguments, half of one, or a side below 1.
        """
        if image_size is None:
            if min_side is None or max_side is None:
                raise ValueError(
                    f"min_side and max_side must be given together, got min_side={min_side} and max_side={max_side}"
                )
            return cls.of_sides(min_side, max_side)
        if min_side is not None or max_side is not None:
            raise ValueError(
                "image_size must be None where min_side and max_side are given: they say how large images become, and "
                "choose the sizes of the batches themselves"
            )
        several = isinstance(image_size, Sequence) and any(isinstance(size, Sequence) for size in image_size)
        return cls(image_size if several else [pair_of_sizes("image_size", image_size)])

    def scale(self, size: tuple[int, int], canvas: tuple[int, int]) -> float:
        """How many times larger an image of `size` is drawn on `canvas`."""
        limits = [canvas[0] / size[0], canvas[1] / size[1]]
        if self.min_side is not None:
            limits.append(self.min_side / min(size))
        if self.max_side is not None:
            limits.append(self.max_side / max(size))
        return min(limits)

    def choose(self, size: tuple[int, int]) -> int:
        """The position in `sizes` of the canvas for an image of `size`."""
        return max(
            range(len(self.sizes)),
            key=lambda index: (
                self.scale(size, self.sizes[index]),
                -self.sizes[index][0] * self.sizes[index][1],
                -index,
            ),
        )


def _rounded_up(side: int) -> int:
    return -(-side // _MULTIPLE) * _MULTIPLE
