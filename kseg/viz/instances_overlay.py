"""Objects drawn over images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .display_image import display_image
from .label_places import place_labels
from .overlay import contours
from .palette import palette

_LEAST_TEXT = 11  # pixels
_LEAST_SIDE = 512  # of pictures to look at


def instances_overlay(
    image: np.ndarray,
    boxes: np.ndarray,
    masks: Sequence[np.ndarray] | None = None,
    labels: Sequence[str] | None = None,
    *,
    alpha: float = 0.35,
    contour_width: int | None = 1,
    zoom: int = 1,
) -> np.ndarray:
    """Draws objects over an image: a transparent fill, a contour and a label each, or a box where there are no masks.

    Args:
        image: `(H, W)` or `(H, W, C)`, any real dtype (see `kseg.viz.display_image`).
        boxes: `(N, 4)`, `x1, y1, x2, y2` in pixels. The first object is drawn last, over the others.
        masks: N arrays `(H, W)`, what is not 0 belonging to the object, asked for one at a time; None to draw boxes.
        labels: N texts, or None. They lie beside their objects where there is room.
        alpha: strength of the fill, 0 (contours only) to 1.
        contour_width: of the contour or the box, in pixels of the result; None: 2, and more on large ones.
        zoom: how many times larger the result is, a whole number: text on images of 100 pixels hides what is there.

    Returns:
        uint8 array `(zoom * H, zoom * W, 3)`.

    Raises:
        ValueError: numbers of boxes, masks and labels that differ, a mask of another size than the image, `alpha`
            outside 0 to 1, or a `zoom` that is no positive int.

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
    if not isinstance(zoom, int) or isinstance(zoom, bool) or zoom < 1:
        raise ValueError(f"instances_overlay: zoom must be a positive int, got {zoom!r}.")
    height, width = picture.shape[:2]
    longest = zoom * max(height, width)
    if contour_width is None:
        contour_width = max(2, round(longest / 600))
    picture = _magnified(picture, zoom)
    colours = palette(len(boxes) + 1)[1:]
    for index in reversed(range(len(boxes))):
        if masks is not None:
            mask = np.asarray(masks[index]) != 0
            if mask.shape != (height, width):
                raise ValueError(
                    f"instances_overlay: masks must have the image's size {(height, width)}, got shape {mask.shape}."
                )
            _fill(picture, mask, colours[index], alpha, contour_width, zoom)
    result = Image.fromarray(np.round(picture).astype(np.uint8))
    draw = ImageDraw.Draw(result)
    boxes = boxes * zoom
    for index in reversed(range(len(boxes))):
        left, top, right, bottom = (round(float(value)) for value in boxes[index])
        if masks is None and right > left and bottom > top:
            draw.rectangle(
                (left, top, right - 1, bottom - 1), outline=tuple(colours[index].tolist()), width=contour_width
            )
    if labels is not None:
        _write(
            draw,
            picture.shape[:2],
            boxes,
            labels,
            colours,
            ImageFont.load_default(max(_LEAST_TEXT, round(longest / 75))),
        )
    return np.asarray(result)


def best_zoom(size: tuple[int, int]) -> int:
    """The zoom for a picture of an image `(height, width)` with labels that can be read."""
    return max(1, _LEAST_SIDE // max(size))


def _write(draw, canvas, boxes, labels, colours, font):
    """Writes the labels, the first over the others where there is no room for all."""
    ends = [draw.textbbox((0, 0), label, font=font) for label in labels]
    sizes = [(round(right) + 2, round(bottom) + 2) for _, _, right, bottom in ends]
    places = place_labels(boxes, sizes, canvas)
    for (x, y), (wide, high), label, colour in reversed(list(zip(places, sizes, labels, colours, strict=True))):
        colour = tuple(int(channel) for channel in colour)
        draw.rectangle((x, y, x + wide - 1, y + high - 1), fill=colour)
        draw.text((x + 1, y), label, fill="white" if sum(colour) < 400 else "black", font=font)


def _magnified(array, zoom):
    return array if zoom == 1 else array.repeat(zoom, axis=0).repeat(zoom, axis=1)


def _fill(picture, mask, colour, alpha, contour_width, zoom):
    """Draws one mask into a float picture, looking at the rows and columns that it has only."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return
    inside = _magnified(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], zoom)
    part = picture[zoom * rows[0] : zoom * (rows[-1] + 1), zoom * columns[0] : zoom * (columns[-1] + 1)]
    part[inside] = (1.0 - alpha) * part[inside] + alpha * colour.astype(np.float32)
    if contour_width > 0:
        # With a border of one pixel, so that the mask's edge shows at the window's.
        edge = contours(np.pad(inside, 1), contour_width)[1:-1, 1:-1] & inside
        part[edge] = colour
