"""The objects that a detector found in an image."""

from __future__ import annotations

import dataclasses

import numpy as np

import kseg_ops
from kseg_ops import _library, rle

# Masks that are pasted at a time: without the compiled library, run lengths have a dense form on the way.
_AT_A_TIME = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Detections:
    """Objects of one image, the most certain first.

    Attributes:
        boxes: float32 `(N, 4)`, `x1, y1, x2, y2` in pixels of the image.
        classes: int32 `(N,)`.
        scores: float32 `(N,)`.
        crops: float32 `(N, h, w)`, probabilities in the frames of the boxes; None for a detector without masks.
        image: the image, `(H, W, C)`.
        class_names: one name per class, or None.
        mask_threshold: pixels with a higher probability belong to a mask.
        paste_mode: of `kseg_ops.paste_masks`: the model's.

    Example:
        >>> found = kseg.predict_instances(model, image)
        >>> found.classes, found.rle()[0]["size"]
        (array([0], dtype=int32), [480, 640])
    """

    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    crops: np.ndarray | None
    image: np.ndarray
    class_names: tuple[str, ...] | None = None
    mask_threshold: float = 0.5
    paste_mode: str = "detectron2"

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.image.shape[:2]

    @property
    def labels(self) -> list[str]:
        """For each object the name of its class, or its number, and the score."""
        names = [str(one) if self.class_names is None else self.class_names[one] for one in self.classes]
        return [f"{name} {score:.2f}" for name, score in zip(names, self.scores, strict=True)]

    def masks(self) -> np.ndarray:
        """The masks, bool `(N, H, W)`: a byte per pixel of the image and object.

        Raises:
            ValueError: the detector has no masks.
        """
        self._check_masks()
        masks = np.empty((len(self), *self.image_size), bool)
        for part in self._parts():
            masks[part] = self._pasted("dense", part)
        return masks

    def mask(self, index: int) -> np.ndarray:
        """The mask of one object, bool `(H, W)`.

        Raises:
            ValueError: the detector has no masks.
        """
        self._check_masks()
        return self._pasted("dense", [index]).numpy()[0].astype(bool)

    def rle(self) -> list[dict]:
        """The masks as COCO's run lengths, `{"size": [H, W], "counts": ...}` each, never all in a dense form.

        `counts` is bytes, compressed as COCO does it; without the compiled library a list of ints, which COCO's tools
        take, too.

        Raises:
            ValueError: the detector has no masks.
        """
        self._check_masks()
        masks = []
        for part in self._parts():
            runs = self._pasted("rle", part)
            counts = np.split(runs.values.numpy(), runs.row_splits.numpy()[1:-1])
            if _library.core() is None:
                masks += [{"size": list(self.image_size), "counts": one.tolist()} for one in counts]
            else:
                masks += rle.from_counts(counts, self.image_size)
        return masks

    def plot(self, alpha: float = 0.35, contour_width: int | None = None, zoom: int = 1) -> np.ndarray:
        """The image with the objects drawn over it, uint8 `(zoom * H, zoom * W, 3)`: see `kseg.viz.instances_overlay`.

        Small images are easier to look at with a `zoom` of some 500 pixels divided by their longer side.
        """
        from kseg.viz import instances_overlay

        masks = None if self.crops is None else _Masks(self)
        return instances_overlay(
            self.image, self.boxes, masks, self.labels, alpha=alpha, contour_width=contour_width, zoom=zoom
        )

    def _check_masks(self):
        if self.crops is None:
            raise ValueError("there are no masks: a FasterRCNN gives boxes only, a MaskRCNN masks, too")

    def _parts(self):
        return [slice(first, first + _AT_A_TIME) for first in range(0, len(self), _AT_A_TIME)]

    def _pasted(self, output, which):
        return kseg_ops.paste_masks(
            self.crops[which],
            self.boxes[which],
            self.image_size,
            self.mask_threshold,
            mode=self.paste_mode,
            output=output,
        )


class _Masks:
    """The masks one after the other: all of them at once may be larger than memory."""

    def __init__(self, detections):
        self.detections = detections

    def __len__(self):
        return len(self.detections)

    def __getitem__(self, index):
        return self.detections.mask(index)
