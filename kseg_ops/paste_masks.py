"""Predicted masks, pasted into their boxes of an image."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops import _library
from kseg_ops._checks import check_box_dtype, reject_keras_tensors
from kseg_ops._mask_options import PASTE_MODES, PASTE_OUTPUTS, as_choice, as_image_size, as_paste_threshold
from kseg_ops._tensors import to_int32
from kseg_ops.reference.paste_masks import paste_masks as _reference

_FLOATS = (tf.float32, tf.float16, tf.bfloat16)


@tf.autograph.experimental.do_not_convert
def paste_masks(
    masks,
    boxes,
    image_size: tuple[int, int],
    threshold: float = 0.5,
    mode: str = "detectron2",
    output: str = "dense",
) -> tf.Tensor | tf.RaggedTensor:
    """Resamples each mask into its box of an image, and thresholds it (He et al. 2017, "Mask R-CNN", section 3.1).

    Two established functions do that, and this one agrees with each to the pixel (as they are compiled for processors
    with fused multiply-add, in float32):

    - `"detectron2"`: `detectron2.layers.paste_masks_in_image` on a CPU. Pixel centres are at half-integers, the mask is
      surrounded by zeros, and a pixel is set where the interpolated value is `>= threshold`. More accurate.
    - `"torchvision"`: `torchvision.models.detection.roi_heads.paste_masks_in_image`, then `> threshold`. The mask
      gets a border of one zero, the box grows likewise and is cut to integers, and the mask is resized to it.

    Only pixels of the box and of a border round it (up to the extent of a mask's pixel in the image) are computed; all
    others are 0. In torchvision's form, and below a threshold of 0.5, some of that border may be set. Where the
    originals fail (boxes outside the image, boxes too large to resize to) the same rules go on. A
    box with a coordinate that is not finite sets no pixel.

    Args:
        masks: float32, float16 or bfloat16 `[N, h, w]`, probabilities; computed in float32. Up to 32768 rows and
            columns.
        boxes: float32 `[N, 4]`: `x1, y1, x2, y2` in absolute pixels of the image. Arrays and lists are converted;
            16-bit boxes are refused.
        image_size: `(H, W)` of the image, two ints, or an integer tensor `[2]`. Up to 2**24 each.
        threshold: 1e-12 to 1e12. (The originals take a negative one to mean unthresholded values; here it is an error.)
        mode: "detectron2" or "torchvision".
        output: "dense", "packed" or "rle".

    Returns:
        - dense: uint8 `[N, H, W]` of 0 and 1.
        - packed: uint8 `[N, H, ceil(W / 8)]`, a bit per pixel; see `kseg_ops.unpack_masks`.
        - rle: a `tf.RaggedTensor` int32 `[N, None]` of COCO's uncompressed counts: lengths of the runs of equal pixels
          of each mask read column by column, beginning with a run (maybe empty) of zeros. The compiled op has no
          dense form on the way. H * W must be below 2**31.

    The op has no gradient. Compiles under XLA where shapes are static; without XLA support (see `kseg.show_config`),
    call it within `with kseg_ops.use_reference():` there, which works for dense and packed results.

    Raises:
        TypeError: a dtype is not supported, an argument is not of its kind, or a tensor is a KerasTensor.
        ValueError: a static shape does not fit, or an argument is out of range.
        tf.errors.InvalidArgumentError: a shape or size known only at run time does not fit.

    Example:
        >>> mask = tf.ones([1, 2, 2])
        >>> kseg_ops.paste_masks(mask, [[1.0, 0.0, 3.0, 2.0]], (3, 4)).numpy()
        array([[[0, 1, 1, 0],
                [0, 1, 1, 0],
                [0, 0, 0, 0]]], dtype=uint8)
        >>> kseg_ops.paste_masks(mask, [[1.0, 0.0, 3.0, 2.0]], (3, 4), output="rle").to_list()
        [[3, 2, 1, 2, 4]]
    """
    reject_keras_tensors(
        "paste_masks",
        "it inside the call() of a keras.layers.Layer with autocast=False (which keeps the boxes in float32)",
        masks=masks,
        boxes=boxes,
        image_size=image_size,
    )
    mode = as_choice("mode", mode, PASTE_MODES)
    output = as_choice("output", output, PASTE_OUTPUTS)
    threshold = as_paste_threshold(threshold)
    masks = tf.convert_to_tensor(masks)
    if masks.dtype not in _FLOATS:
        raise TypeError(f"masks must be float32, float16 or bfloat16, got {masks.dtype.name}")
    boxes = _as_boxes(boxes)
    image_size = _as_image_size(image_size)
    if masks.shape.rank not in (None, 3):
        raise ValueError(f"masks must have shape [N, h, w], got {masks.shape}")
    if not boxes.shape.is_compatible_with([None, 4]) or (
        None not in (masks.shape.rank, boxes.shape.rank) and not boxes.shape[:1].is_compatible_with(masks.shape[:1])
    ):
        raise ValueError(f"boxes must have shape [N, 4] with one box per mask, got {boxes.shape} for {masks.shape}")

    native = _library.native_op("paste_masks")
    if native is None:
        return _reference(masks, boxes, image_size, threshold, mode, output)
    if output == "rle":
        runs = _library.native_op("paste_masks_rle")(
            masks=masks, boxes=boxes, image_size=image_size, mode=mode, threshold=threshold
        )
        return tf.RaggedTensor.from_row_splits(runs.counts, runs.row_splits, validate=False)
    return native(
        masks=masks,
        boxes=boxes,
        image_size=image_size,
        mode=mode,
        threshold=threshold,
        packed=output == "packed",
    )


def _as_boxes(value) -> tf.Tensor:
    dtype = tf.as_dtype(value.dtype) if hasattr(value, "dtype") else tf.float32
    check_box_dtype(dtype.name)
    if dtype == tf.float32 or not tf.is_tensor(value):
        return tf.convert_to_tensor(value, tf.float32)
    return tf.cast(value, tf.float32)


def _as_image_size(value) -> tf.Tensor:
    of_tensors = isinstance(value, (list, tuple)) and any(tf.is_tensor(size) for size in value)
    if not tf.is_tensor(value) and not of_tensors:
        return tf.constant(as_image_size(value), tf.int32)
    size = tf.convert_to_tensor(value)
    if not size.dtype.is_integer:
        raise TypeError(f"image_size must be integers, got {size.dtype.name}")
    if not size.shape.is_compatible_with([2]):
        raise ValueError(f"image_size must be two integers, (height, width), got a tensor of shape {size.shape}")
    return to_int32(size)


_library.register_gradient("Kseg>PasteMasks")(None)
_library.register_gradient("Kseg>PasteMasksRle")(None)
