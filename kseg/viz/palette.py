"""Colours for classes."""

from __future__ import annotations

import colorsys

import numpy as np

# The first colours are told apart by most people with a colour vision deficiency (after Okabe and Ito, "Color Universal
# Design", 2008), ordered so that neighbours in the list contrast. Class 0, the usual background, gets a quiet grey.
_FIRST = (
    (90, 98, 110),
    (230, 120, 0),
    (0, 150, 220),
    (0, 158, 115),
    (214, 60, 120),
    (240, 215, 50),
    (120, 80, 200),
    (190, 60, 20),
)
VOID_COLOUR = (235, 235, 235)


def palette(num_classes: int) -> np.ndarray:
    """Returns one RGB colour per class.

    Args:
        num_classes: Number of classes, at least 1.

    Returns:
        uint8 array `(num_classes, 3)`. The first eight are fixed; the rest step around the hue circle by the golden
        angle, with alternating lightness. The colour of a class does not depend on `num_classes`.

    Raises:
        ValueError: `num_classes` is below 1.

    Example:
        >>> palette(3).shape
        (3, 3)
    """
    if num_classes < 1:
        raise ValueError(f"palette: num_classes must be at least 1, got {num_classes}.")
    colours = list(_FIRST[:num_classes])
    for index in range(len(colours), num_classes):
        hue = (0.13 + index * 0.6180339887) % 1.0
        value = (0.95, 0.7, 0.5)[index % 3]
        colours.append(tuple(round(255 * channel) for channel in colorsys.hsv_to_rgb(hue, 0.75, value)))
    return np.asarray(colours, np.uint8)
