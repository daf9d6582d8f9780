"""Where an image goes on its canvas."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from kseg.data.instances.instances import Instances
from kseg.data.instances.packed_masks import resample


class Placement(NamedTuple):
    """Cuts a box out of an image, resizes and flips it, and lays it into the upper left corner of a canvas.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the image; fractions are allowed.
        size: height and width that the box becomes.
        canvas: height and width of the result, at least `size`.
        flip: whether rows and columns are reversed, (vertical, horizontal).
    """

    box: tuple[float, float, float, float]
    size: tuple[int, int]
    canvas: tuple[int, int]
    flip: tuple[bool, bool] = (False, False)

    @classmethod
    def scaled(
        cls,
        image_size: tuple[int, int],
        scale: float,
        canvas: tuple[int, int],
        flip: tuple[bool, bool] = (False, False),
        position: tuple[float, float] = (0.0, 0.0),
    ) -> Placement:
        """The image times `scale`; of what is then larger than the canvas, the part at `position` (0..1 per axis)."""
        ends, sizes = [], []
        for side, limit, at in zip(image_size, canvas, position, strict=True):
            whole = max(1, int(side * scale + 0.5))
            kept = min(whole, limit)
            first = min(int(at * (whole - kept + 1)), whole - kept)
            ends.append((first * side / whole, (first + kept) * side / whole))
            sizes.append(kept)
        (y1, y2), (x1, x2) = ends
        return cls((x1, y1, x2, y2), tuple(sizes), canvas, flip)

    def image(self, image: np.ndarray, fill: float = 0.0) -> np.ndarray:
        """`(H, W, C)` uint8 or float32 to the canvas: bilinear, with antialiasing where it shrinks; `fill` around."""
        height, width = self.size
        placed = np.full((*self.canvas, image.shape[2]), fill, image.dtype)
        placed[:height, :width] = _resized(image, self.box, self.size)[:: _step(self.flip[0]), :: _step(self.flip[1])]
        return placed

    def instances(self, instances: Instances) -> Instances:
        """Masks by the nearest pixel; boxes anew from them; those that vanish are left out."""
        x1, y1, x2, y2 = self.box
        rows = _nearest(y1, y2, self.size[0], instances.size[0])[:: _step(self.flip[0])]
        columns = _nearest(x1, x2, self.size[1], instances.size[1])[:: _step(self.flip[1])]
        masks, boxes, kept = resample(instances.masks, instances.boxes, rows, columns, self.canvas)
        return Instances(masks, instances.classes[kept], self.canvas, instances.crowd[kept], boxes)


def _step(flip: bool) -> int:
    return -1 if flip else 1


def _nearest(first: float, end: float, count: int, size: int) -> np.ndarray:
    """Source pixels below the centres of `count` pixels that divide first..end."""
    return np.clip(np.floor(first + (np.arange(count) + 0.5) * ((end - first) / count)).astype(np.int64), 0, size - 1)


def _resized(image: np.ndarray, box, size: tuple[int, int]) -> np.ndarray:
    if box == (0, 0, image.shape[1], image.shape[0]) and size == image.shape[:2]:
        return image
    if image.dtype == np.uint8 and image.shape[2] in (1, 3):
        picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        return np.asarray(picture.resize(size[::-1], Image.Resampling.BILINEAR, box)).reshape(*size, -1)
    # Pillow has no other images of several channels.
    channels = [
        np.asarray(Image.fromarray(np.ascontiguousarray(channel)).resize(size[::-1], Image.Resampling.BILINEAR, box))
        for channel in np.moveaxis(image, 2, 0)
    ]
    return np.stack(channels, axis=-1)
