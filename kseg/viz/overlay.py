"""Class maps drawn over images."""

from __future__ import annotations

import numpy as np

from .display_image import display_image
from .palette import VOID_COLOUR, palette


def overlay(
    image: np.ndarray,
    classes: np.ndarray,
    num_classes: int | None = None,
    *,
    alpha: float = 0.35,
    background: int | None = 0,
    ignore_index: int | None = 255,
    contour_width: int = 1,
) -> np.ndarray:
    """Draws a class map over an image: a transparent fill and a full-strength contour per class.

    Args:
        image: `(H, W)` or `(H, W, C)`, any real dtype (see `kseg.viz.display_image`).
        classes: Integer `(H, W)`, class per pixel.
        num_classes: Number of classes. Default: one more than the largest class present.
        alpha: Strength of the fill, 0 (contours only) to 1 (the image disappears).
        background: A class that is left unfilled and whose pixels carry no contour; `None` draws all classes.
        ignore_index: Void pixels, washed out in light grey; `None` if there are none.
        contour_width: Width of the contour in pixels; 0 draws none. The contour lies inside the region.

    Returns:
        uint8 array `(H, W, 3)`.

    Raises:
        ValueError: Sizes differ, or `alpha` lies outside 0 to 1.

    Example:
        >>> overlay(np.zeros((4, 4)), np.eye(4, dtype=np.int32)).shape
        (4, 4, 3)
    """
    picture = display_image(image)
    classes = np.asarray(classes)
    if classes.shape != picture.shape[:2]:
        raise ValueError(f"overlay: classes must have the image's size {picture.shape[:2]}, got shape {classes.shape}.")
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"overlay: alpha must lie between 0 and 1, got {alpha}.")
    void = np.zeros(classes.shape, bool) if ignore_index is None else classes == ignore_index
    known = np.where(void, 0, classes)
    if num_classes is None:
        num_classes = int(known.max(initial=0)) + 1
    colours = palette(num_classes)[np.clip(known, 0, num_classes - 1)].astype(np.float32)
    drawn = ~void if background is None else ~void & (classes != background)

    result = picture.astype(np.float32)
    result = np.where(drawn[..., None], (1.0 - alpha) * result + alpha * colours, result)
    wash = np.asarray(VOID_COLOUR, np.float32)
    result = np.where(void[..., None], 0.35 * result + 0.65 * wash, result)
    if contour_width > 0:
        edge = contours(classes, contour_width) & drawn
        result = np.where(edge[..., None], colours, result)
    return np.round(result).astype(np.uint8)


def contours(classes: np.ndarray, width: int = 1) -> np.ndarray:
    """Marks the pixels within `width` pixels (4-neighbourhood) of a pixel of another class.

    Args:
        classes: Integer `(H, W)`.
        width: Width of the line in pixels, at least 1.

    Returns:
        bool array `(H, W)`. The image border is no contour.
    """
    edge = np.zeros(classes.shape, bool)
    vertical = classes[1:] != classes[:-1]
    horizontal = classes[:, 1:] != classes[:, :-1]
    edge[1:] |= vertical
    edge[:-1] |= vertical
    edge[:, 1:] |= horizontal
    edge[:, :-1] |= horizontal
    for _ in range(width - 1):
        grown = edge.copy()
        grown[1:] |= edge[:-1]
        grown[:-1] |= edge[1:]
        grown[:, 1:] |= edge[:, :-1]
        grown[:, :-1] |= edge[:, 1:]
        edge = grown
    return edge
