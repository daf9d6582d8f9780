"""The objects of one image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kseg.data.instances.packed_masks import areas_of, boxes_of, row_bytes
from kseg_ops import rle


class Instances:
    """The objects of one image, their masks packed to a bit per pixel.

    Args:
        masks: uint8 `[N, H, ceil(W / 8)]`, packed along x, lowest bit first (`kseg_ops.numpy.pack_masks`).
        classes: integers `[N]`, 0..num_classes-1; there is no background class.
        size: height and width (H, W) of the image.
        crowd: bools `[N]`: a region of many objects that were not told apart, which neither counts as an object nor as
            background. None: no crowd.
        boxes: integers `[N, 4]`, the tightest boxes of the masks, where the caller knows them; x1 y1 x2 y2 in pixels,
            x2 and y2 being the index of the last pixel + 1. None computes them.

    Attributes:
        masks, classes (int32), crowd, boxes (int32), size.

    Raises:
        TypeError, ValueError: a dtype or shape that does not fit, named.

    Example:
        >>> ids = np.array([[0, 1, 1], [2, 2, 0]])
        >>> kseg.data.instances_from_masks(ids).boxes
        array([[1, 0, 3, 1],
               [0, 1, 2, 2]], dtype=int32)
    """

    def __init__(self, masks, classes, size: tuple[int, int], crowd=None, boxes=None):
        masks, classes = np.asarray(masks), np.asarray(classes)
        height, width = size
        if masks.dtype != np.uint8:
            raise TypeError(f"masks must be uint8, a bit per pixel (kseg_ops.numpy.pack_masks), got {masks.dtype}")
        expected = (len(classes), height, row_bytes(width))
        if masks.shape != expected:
            raise ValueError(
                f"masks must have shape [N, H, ceil(W / 8)] = {list(expected)} for {len(classes)} classes and the size "
                f"{height}x{width} (height x width), got {list(masks.shape)}"
            )
        if classes.ndim != 1 or (classes.size and classes.dtype.kind not in "iu"):
            raise TypeError(f"classes must be integers [N], got {classes.dtype} {list(classes.shape)}")
        if classes.size and classes.min() < 0:
            raise ValueError(f"classes must be at least 0, got {classes.min()}")
        crowd = np.zeros(len(classes), bool) if crowd is None else np.asarray(crowd, bool)
        if crowd.shape != classes.shape:
            raise ValueError(f"crowd must hold one bool per instance, {len(classes)}, got shape {list(crowd.shape)}")
        self.masks, self.size, self.crowd = masks, (int(height), int(width)), crowd
        self.classes = classes.astype(np.int32)
        self.boxes = boxes_of(masks, width) if boxes is None else np.asarray(boxes, np.int32).reshape(-1, 4)
        if len(self.boxes) != len(masks):
            raise ValueError(f"boxes must have shape [N, 4], one per mask, {len(masks)}, got {list(self.boxes.shape)}")

    @classmethod
    def from_rles(cls, rles: Sequence[dict], classes, size: tuple[int, int], crowd=None) -> Instances:
        """From COCO's run-length encoding, one dict per instance. Those without a pixel are left out.

        Raises:
            ValueError: an RLE is malformed or of another size.
        """
        classes = np.asarray(classes, np.int32)
        crowd = np.zeros(len(classes), bool) if crowd is None else np.asarray(crowd, bool)
        rles = list(rles)
        kept = np.flatnonzero(rle.area(rles)) if rles else np.zeros(0, np.int64)
        masks = np.empty((len(kept), size[0], row_bytes(size[1])), np.uint8)
        for mask, index in zip(masks, kept, strict=True):  # one by one: without the compiled library each is dense once
            mask[:] = rle.decode_packed(rles[index])
        return cls(masks, classes[kept], size, crowd[kept], rle.to_boxes([rles[index] for index in kept]))

    def __len__(self) -> int:
        return len(self.classes)

    def __repr__(self) -> str:
        height, width = self.size
        return f"Instances({len(self)} in {height}x{width}, classes {sorted(set(self.classes.tolist()))})"

    def take(self, indices) -> Instances:
        """The instances at `indices`, or those where a bool `[N]` is set."""
        return Instances(
            self.masks[indices], self.classes[indices], self.size, self.crowd[indices], self.boxes[indices]
        )

    def areas(self) -> np.ndarray:
        """Pixels per instance, int64 `[N]`."""
        return areas_of(self.masks)

    def dense(self) -> np.ndarray:
        """uint8 `[N, H, W]` of zeros and ones: eight times the memory."""
        return np.unpackbits(self.masks, axis=2, count=self.size[1], bitorder="little")

    def as_targets(self, max_instances: int) -> dict[str, np.ndarray]:
        """The targets of one image, padded, as an element of `kseg.data.instance_pipeline` has them but for the batch.

        Args:
            max_instances: N. Of more instances, those with the most pixels are taken.

        Returns:
            A dict of "boxes" float32 `(N, 4)`, "classes" int32 `(N,)` with -1 for padding, "masks" uint8
            `(N, H, ceil(W / 8))`, "crowd" bool `(N,)`, and "sizes" int32 `(2,)`, height and width.
        """
        kept = self.largest(max_instances)
        free = max_instances - len(kept)
        return {
            "boxes": np.pad(kept.boxes.astype(np.float32), ((0, free), (0, 0))),
            "classes": np.pad(kept.classes, (0, free), constant_values=-1),
            "masks": np.pad(kept.masks, ((0, free), (0, 0), (0, 0))),
            "crowd": np.pad(kept.crowd, (0, free)),
            "sizes": np.array(self.size, np.int32),
        }

    def largest(self, count: int) -> Instances:
        """The `count` instances with the most pixels, or all, in their order."""
        if len(self) <= count:
            return self
        return self.take(np.sort(np.argsort(-self.areas(), kind="stable")[:count]))
