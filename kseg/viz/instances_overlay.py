"""Objects drawn over images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .display_image import display_image
from .overlay import contours
from .palette import palette

_LEAST_TEXT = 11  # pixels


def instances_overlay(
    image: np.ndarray,
    boxes: np.ndarray,
    masks: Sequence[np.ndarray] | None = None,
    labels: Sequence[str] | None = None,
    *,
    alpha: float = 0.35,
    contour_width: int = 1,
) -> np.ndarray:
    """Draws objects over an image: a transparent fill, a contour and a label each, or a box where there are no masks.

    Args:
        image: `(H, W)` or `(H, W, C)`, any real dtype (see `kseg.viz.display_image`).
        boxes: `(N, 4)`, `x1, y1, x2, y2` in pixels. The first object is drawn last, over the others.
        masks: N arrays `(H, W)`, what is not 0 belonging to the object, asked for one at a time; None to draw boxes.
        labels: N texts, or None.
        alpha: strength of the fill, 0 (contours only) to 1.
        contour_width: of the contour or the box, in pixels.

    Returns:
        uint8 array `(H, W, 3)`.

    Raises:
        ValueError: numbers of boxes, masks and labels that differ, a mask of another size than the image, or `alpha`
            outside 0 to 1.

    Example:
        >>> instances_overlay(np.zeros((8, 8)), np.array([[1, 1, 6, 6]]), labels=["nut 0.98"]).shape
        (8, 8, 3)
    """
    picture = display_image(image).astype(np.float32)
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    for name, values in (("masks", masks), ("labels", labels)):
        if values is not None and len(values) != len(boxes):
            raise ValueError(f"instances_overlay: {name} must be as many as boxes, {len(boxes)}, got {len(values)}.")
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"instances_overlay: alpha must lie between 0 and 1, got {alpha}.")
    colours = palette(len(boxes) + 1)[1:]
    for index in reversed(range(len(boxes))):
        if masks is not None:
            _fill(picture, np.asarray(masks[index]) != 0, colours[index], alpha, contour_width)
    result = Image.fromarray(np.round(picture).astype(np.uint8))
    draw = ImageDraw.Draw(result)
    font = ImageFont.load_default(max(_LEAST_TEXT, round(max(result.size) / 75)))
    for index in reversed(range(len(boxes))):
        left, top, right, bottom = (round(float(value)) for value in boxes[index])
        colour = tuple(int(channel) for channel in colours[index])
        if masks is None and right > left and bottom > top:
            draw.rectangle((left, top, right - 1, bottom - 1), outline=colour, width=contour_width)
        if labels is not None:
            place = (max(left, 0), max(top, 0))
            draw.rectangle(draw.textbbox(place, labels[index], font=font), fill=colour)
            draw.text(place, labels[index], fill="white" if sum(colour) < 400 else "black", font=font)
    return np.asarray(result)


def _fill(picture, mask, colour, alpha, contour_width):
    """Draws one mask into a float picture, looking at the rows and columns that it has only."""
    if mask.shape != picture.shape[:2]:
        raise ValueError(
            f"instances_overlay: masks must have the image's size {picture.shape[:2]}, got shape {mask.shape}."
        )
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inside, part = mask[window], picture[window]
    part[inside] = (1.0 - alpha) * part[inside] + alpha * colour.astype(np.float32)
    if contour_width > 0:
        # With a border of one pixel, so that the mask's edge shows at the window's.
        edge = contours(np.pad(inside, 1), contour_width)[1:-1, 1:-1] & inside
        part[edge] = colour
