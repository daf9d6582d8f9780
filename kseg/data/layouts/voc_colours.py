"""The rule by which Pascal VOC colours its classes."""

from __future__ import annotations


def voc_colours(count: int) -> tuple[tuple[int, int, int], ...]:
    """The first `count` colours of the VOC palette, at most 256.

    Bits 0, 3, 6 of a class number become the highest bits of red, bits 1, 4, 7 those of green, bits 2, 5 those of blue,
    the lowest first: all colours are different.

    Example:
        >>> voc_colours(3)
        ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    """
    return tuple(
        tuple(sum((number >> (3 * place + channel) & 1) << (7 - place) for place in range(3)) for channel in range(3))
        for number in range(count)
    )
