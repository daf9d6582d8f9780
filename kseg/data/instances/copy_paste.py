"""Objects of one image laid over another."""

from __future__ import annotations

import numpy as np

from kseg.data.instances.instances import Instances
from kseg.data.instances.packed_masks import boxes_of


def copy_paste(
    image: np.ndarray, instances: Instances, other_image: np.ndarray, pasted: Instances
) -> tuple[np.ndarray, Instances]:
    """Lays `pasted` over an image of the same size, pixel by pixel and without blending.

    What they cover is no longer part of the objects below: those lose the pixels, get smaller boxes, and vanish where
    nothing is left (Ghiasi et al. 2021).

    Args:
        image: `(H, W, C)`; not changed.
        instances: its objects.
        other_image: `(H, W, C)`, which has the pixels of the pasted objects.
        pasted: objects of `other_image`.

    Returns:
        The image, and first what is left of `instances`, then `pasted`.
    """
    if not len(pasted):
        return image, instances
    covered = np.bitwise_or.reduce(pasted.masks)
    left, top = pasted.boxes[:, :2].min(axis=0)
    right, bottom = pasted.boxes[:, 2:].max(axis=0)
    part = slice(top, bottom), slice(left, right)
    dense = np.unpackbits(covered[part[0]], axis=1, count=right, bitorder="little")[:, left:].view(bool)
    image = image.copy()
    image[part][dense] = other_image[part][dense]

    masks, boxes = instances.masks.copy(), instances.boxes.copy()
    keep = np.ones(len(masks), bool)
    for index, (mask, (x1, y1, x2, y2)) in enumerate(zip(masks, boxes.tolist(), strict=True)):
        rows, strip = slice(y1, y2), slice(x1 // 8, (x2 + 7) // 8)
        if (mask[rows, strip] & covered[rows, strip]).any():
            mask[rows, strip] &= ~covered[rows, strip]
            boxes[index] = boxes_of(mask[None], instances.size[1])[0]
            keep[index] = boxes[index, 2] > 0
    return image, Instances(
        np.concatenate([masks[keep], pasted.masks]),
        np.concatenate([instances.classes[keep], pasted.classes]),
        instances.size,
        np.concatenate([instances.crowd[keep], pasted.crowd]),
        np.concatenate([boxes[keep], pasted.boxes]),
    )
