"""paste_masks on arrays."""

from __future__ import annotations

import numpy as np

from kseg_ops._mask_options import PASTE_MODES, PASTE_OUTPUTS, as_choice, as_image_size, as_paste_threshold
from kseg_ops.numpy._arrays import as_boxes, as_native_order, core


def paste_masks(
    masks,
    boxes,
    image_size: tuple[int, int],
    threshold: float = 0.5,
    mode: str = "detectron2",
    output: str = "dense",
) -> np.ndarray | list[np.ndarray]:
    """Resamples each mask into its box of an image, and thresholds it; `kseg_ops.paste_masks` states it in full.

    Args:
        masks: `[N, h, w]`, float32, float16 or ml_dtypes' bfloat16.
        boxes: `[N, 4]`, x1 y1 x2 y2 in pixels of the image; converted to float32. 16-bit floats are refused.
        image_size: `(H, W)`.
        threshold: 1e-12 to 1e12.
        mode: "detectron2" or "torchvision".
        output: "dense", "packed" or "rle".

    Returns:
        uint8 `[N, H, W]` of 0 and 1; packed, uint8 `[N, H, ceil(W / 8)]`; rle, a list of N int32 arrays, COCO's
        uncompressed counts.

    Raises:
        RuntimeError: The compiled library cannot be used.
        TypeError: A dtype or an argument's type is not supported.
        ValueError: A shape does not fit or an argument is out of range.

    Example:
        >>> paste_masks(np.ones((1, 2, 2), np.float32), [[1, 0, 3, 2]], (2, 4))
        array([[[0, 1, 1, 0],
                [0, 1, 1, 0]]], dtype=uint8)
    """
    mode = as_choice("mode", mode, PASTE_MODES)
    output = as_choice("output", output, PASTE_OUTPUTS)
    given = (as_native_order(masks), as_boxes(boxes), as_image_size(image_size), mode, as_paste_threshold(threshold))
    if output != "rle":
        return core().paste_masks(*given, output == "packed")
    counts, splits = core().paste_masks_rle(*given)
    return np.split(counts, splits[1:-1]) if len(splits) > 1 else []
