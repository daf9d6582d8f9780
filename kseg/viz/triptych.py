"""Image, truth and prediction side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .display_image import display_image
from .overlay import overlay
from .palette import palette

_GAP = 6
_INK = (40, 44, 52)
_MIN_SIDE = 320
_MAX_SIDE = 640


def triptych(
    image: np.ndarray,
    truth: np.ndarray | None,
    prediction: np.ndarray,
    num_classes: int,
    *,
    class_names: Sequence[str] | None = None,
    ignore_index: int | None = 255,
) -> np.ndarray:
    """Draws image | truth | prediction | errors, captioned, with a legend of the classes.

    Args:
        image: `(H, W)` or `(H, W, C)`, any real dtype.
        truth: Integer `(H, W)`, or `None`: then only image and prediction are drawn.
        prediction: Integer `(H, W)`.
        num_classes: Number of classes.
        class_names: A name per class for the legend; default "class 0", "class 1" and so on. At most 12 are listed.
        ignore_index: Void pixels of the truth; they are never counted as errors.

    Returns:
        uint8 array `(height, width, 3)`. Small images are enlarged without interpolation and large ones reduced, so
        that a panel's longer side lies between 320 and 640 pixels where an integer factor allows.

    Raises:
        ValueError: Sizes differ.
    """
    picture = display_image(image)
    height, width = picture.shape[:2]
    for name, array in (("truth", truth), ("prediction", prediction)):
        if array is not None and np.shape(array) != (height, width):
            raise ValueError(
                f"triptych: {name} must have the image's size {(height, width)}, got shape {np.shape(array)}."
            )
    # Class maps are enlarged before they are drawn over, so that contours stay one pixel thin; a reduced picture is
    # drawn at full size first and then averaged.
    factor = max(1, _MIN_SIDE // max(height, width)) if max(height, width) < _MIN_SIDE else 1
    large = _enlarge(picture, factor)
    line = max(1, round(max(height, width) / _MAX_SIDE)) if factor == 1 else 2
    drawing = {"ignore_index": ignore_index, "contour_width": line}
    panels = [("image", large)]
    if truth is not None:
        panels.append(("truth", overlay(large, _enlarge(truth, factor), num_classes, **drawing)))
    panels.append(("prediction", overlay(large, _enlarge(prediction, factor), num_classes, **drawing)))
    if truth is not None:
        panels.append(("errors", _errors(picture, truth, prediction, ignore_index, factor)))
    return _compose(panels, num_classes, class_names)


def _enlarge(array: np.ndarray, factor: int) -> np.ndarray:
    return np.repeat(np.repeat(np.asarray(array), factor, axis=0), factor, axis=1)


def _errors(picture, truth, prediction, ignore_index, factor):
    counted = np.ones(np.shape(truth), bool) if ignore_index is None else np.asarray(truth) != ignore_index
    wrong = counted & (np.asarray(truth) != np.asarray(prediction))
    faded = picture.astype(np.float32) * 0.35 + 255.0 * 0.1
    return _enlarge(np.where(wrong[..., None], np.float32([235, 60, 60]), faded).astype(np.uint8), factor)


def _compose(panels, num_classes, class_names):
    pictures = [_limit(Image.fromarray(panel)) for _, panel in panels]
    width, height = pictures[0].size
    total = len(pictures) * width + (len(pictures) - 1) * _GAP
    # In a report the whole row is as wide as the page, about a thousand pixels: text must grow with it.
    size = max(14, round(total / 75))
    font = ImageFont.load_default(size)
    line = round(1.75 * size)
    rows = _legend_rows(_legend_entries(num_classes, class_names), total, font, size)
    canvas = Image.new("RGB", (total, line + height + line * len(rows)), "white")
    draw = ImageDraw.Draw(canvas)
    for index, ((name, _), picture) in enumerate(zip(panels, pictures, strict=True)):
        left = index * (width + _GAP)
        draw.text((left + 2, round(0.2 * size)), name, fill=_INK, font=font)
        canvas.paste(picture, (left, line))
    for row, items in enumerate(rows):
        left, top = 2, line + height + row * line + round(0.4 * size)
        for text, colour, length in items:
            draw.rectangle((left, top, left + size, top + size), fill=colour)
            draw.text((left + round(1.4 * size), top - round(0.15 * size)), text, fill=_INK, font=font)
            left += length
    return np.asarray(canvas)


def _limit(picture: Image.Image) -> Image.Image:
    longest = max(picture.size)
    if longest <= _MAX_SIDE:
        return picture
    size = tuple(max(1, round(side * _MAX_SIDE / longest)) for side in picture.size)
    return picture.resize(size, Image.Resampling.BOX)


def _legend_entries(num_classes, class_names):
    names = [f"class {index}" for index in range(num_classes)] if class_names is None else list(class_names)
    colours = palette(num_classes)
    entries = [(names[index], tuple(int(c) for c in colours[index])) for index in range(min(num_classes, 12))]
    if num_classes > 12:
        entries.append((f"and {num_classes - 12} more", (255, 255, 255)))
    return entries


def _legend_rows(entries, total, font, size):
    rows, used = [[]], 2
    for text, colour in entries:
        length = round(font.getlength(text) + 2.7 * size)
        if rows[-1] and used + length > total:
            rows.append([])
            used = 2
        rows[-1].append((text, colour, length))
        used += length
    return rows
