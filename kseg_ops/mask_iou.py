"""Intersection over union of binary masks."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops import _library
from kseg_ops._checks import reject_keras_tensors
from kseg_ops._masks import as_mask_boxes, as_masks, as_width
from kseg_ops.reference.mask_iou import mask_iou as _reference


@tf.autograph.experimental.do_not_convert
def mask_iou(a, b, is_crowd=None, width: int | None = None, boxes_a=None, boxes_b=None) -> tf.Tensor:
    """The IoU of every mask of one set with every mask of another.

    The compiled form crops each mask to its bounding box at one bit per pixel, skips pairs whose boxes do not meet, and
    counts bits for the others. To find the bounding boxes it reads every mask whole, which takes most of its time where
    objects are small: boxes that are known already save that.

    Args:
        a: bool or uint8 `[N, H, W]`, anything but 0 is set; with `width` packed, uint8 `[N, H, ceil(width / 8)]` as
            `kseg_ops.pack_masks` gives it, which is faster.
        b: `[M, H, W]` or `[M, H, ceil(width / 8)]` likewise.
        is_crowd: bool (or integer, 0 or not) `[M]`: for a crowd region the denominator is the area of the mask of `a`
            alone, as in COCO's evaluation: a mask inside a crowd matches it fully. None: no mask is one.
        width: W of packed masks; None for a byte per pixel.
        boxes_a: float32 `[N, 4]`, x1 y1 x2 y2 in pixels: a box that holds each mask of `a`, as from a detector. Pixels
            that it does not touch count as background whatever the mask says there, and are not read: rows `floor(y1)`
            up to but not including `ceil(y2)` count, and columns likewise, as far as the image has them. None do if the
            box has no area, is inverted or has a NaN. None: no boxes, all pixels count.
        boxes_b: `[M, 4]`, those of `b`, likewise.

    Returns:
        float32 `[N, M]`. Pixels are counted exactly; the quotient is rounded to float64 and then to float32. 0 over 0
        is 0: an empty mask has an IoU of 0 with everything, another empty one included.

    Raises:
        TypeError: a dtype is not supported, `width` is not an integer, or a tensor is a KerasTensor.
        ValueError: a static shape does not fit.
        tf.errors.InvalidArgumentError: a shape known only at run time does not fit, or there are 2**31 pairs or more.

    The op has no gradient. Compiles under XLA where shapes are static; without XLA support (see `kseg.show_config`),
    call it within `with kseg_ops.use_reference():` there.

    Example:
        >>> a = tf.constant([[[1, 1, 1, 0]]], tf.uint8)
        >>> b = tf.constant([[[0, 1, 1, 1]], [[0, 0, 0, 1]]], tf.uint8)
        >>> kseg_ops.mask_iou(a, b).numpy()
        array([[0.5, 0. ]], dtype=float32)
        >>> kseg_ops.mask_iou(a, b, is_crowd=[True, False]).numpy()
        array([[0.6666667, 0.       ]], dtype=float32)
        >>> kseg_ops.mask_iou(a, b, boxes_a=[[0, 0, 2, 1]]).numpy()
        array([[0.25, 0.  ]], dtype=float32)
    """
    instead = "it inside the call() of a keras.layers.Layer"
    reject_keras_tensors("mask_iou", instead, a=a, b=b, is_crowd=is_crowd, boxes_a=boxes_a, boxes_b=boxes_b)
    width = as_width(width)
    a, b = as_masks("a", a, width, 3), as_masks("b", b, width, 3)
    if a.dtype != b.dtype:
        a, b = (tf.cast(tf.cast(masks, tf.bool), tf.uint8) for masks in (a, b))
    if a.shape.rank is not None and b.shape.rank is not None and not a.shape[1:].is_compatible_with(b.shape[1:]):
        raise ValueError(f"a and b must be masks of one height and width, got {a.shape} and {b.shape}")
    if is_crowd is None:
        is_crowd = tf.zeros([tf.shape(b)[0]], tf.bool)
    else:
        is_crowd = tf.convert_to_tensor(is_crowd)
        # An empty list arrives as floats.
        if not (is_crowd.dtype == tf.bool or is_crowd.dtype.is_integer or is_crowd.shape == [0]):
            raise TypeError(f"is_crowd must be bool or integers, got {is_crowd.dtype.name}")
        is_crowd = tf.cast(is_crowd, tf.bool)
    if is_crowd.shape.rank not in (None, 1) or (
        b.shape.rank is not None and not is_crowd.shape.is_compatible_with(b.shape[:1])
    ):
        raise ValueError(f"is_crowd must have one entry per mask of b, {b.shape[:1]}, got {is_crowd.shape}")

    boxes_a, boxes_b = as_mask_boxes("boxes_a", boxes_a, a), as_mask_boxes("boxes_b", boxes_b, b)
    native = _library.native_op("mask_iou")
    if native is None:
        return _reference(a, b, is_crowd, width, boxes_a, boxes_b)
    return native(
        a=a,
        b=b,
        is_crowd=is_crowd,
        boxes_a=tf.zeros([0, 4]) if boxes_a is None else boxes_a,
        boxes_b=tf.zeros([0, 4]) if boxes_b is None else boxes_b,
        width=-1 if width is None else width,
    )


_library.register_gradient("Kseg>MaskIou")(None)
