"""Class maps at full size from logits at a smaller one."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops import _library
from kseg_ops._checks import MAX_MAP_SIZE, as_flag, as_map_size, reject_keras_tensors
from kseg_ops._tensors import to_int32, to_int64
from kseg_ops.reference.resize_argmax import resize_argmax as _reference

_FLOATS = (tf.float32, tf.float16, tf.bfloat16, tf.float64)


@tf.autograph.experimental.do_not_convert
def resize_argmax(logits, size, align_corners: bool = False) -> tf.Tensor:
    """The argmax over classes of bilinearly resized logits, without the resized logits.

    Equals `tf.argmax(tf.image.resize(logits, size, "bilinear"), axis=-1)`, except where the two largest values tie
    within rounding. Decoders that predict at a quarter of the image's size would otherwise write and read a float per
    class and pixel: 157 MB for 150 classes at 512 x 512.

    Args:
        logits: floating tensor `[B, h, w, C]` (float32, float16, bfloat16 or float64), at least 1 x 1 pixels and one
            class. Computed in float32. NaN counts as -inf, and infinities as +-1e30, to which all values are clipped:
            a class that is infinite at a source pixel dominates as far as that pixel has weight, and no interpolated
            value is NaN.
        size: the new height and width `(H, W)`, larger or smaller than those of `logits` by any factors: two Python
            ints of at least 1, or an integer tensor of shape `[2]`.
        align_corners: False for half-pixel centres, as `tf.image.resize` has them. True for corner pixels that keep
            their centres (output `i` is read at `i * (h - 1) / (H - 1)`), as `torch.nn.functional.interpolate` does
            under this name. There is no antialiasing when the size shrinks.

    Returns:
        int32 tensor `[B, H, W]` of classes in `0..C-1`; of equal values the lowest class wins.

    Raises:
        TypeError: `logits` is not floating or a KerasTensor, or `size` is not integer.
        ValueError: `logits` is not of rank 4 or has an empty axis other than the batch, or `size` is not two numbers of
            at least 1, as far as that is known statically.
        tf.errors.InvalidArgumentError: the same, known at run time only.

    The op has no gradient.

    Compiles under XLA where shapes are static; without XLA support (see `kseg.show_config`), call it within
    `with kseg_ops.use_reference():` there.

    Example:
        >>> logits = tf.constant([[[[1.0, 0.0], [0.0, 1.0]]]])
        >>> kseg_ops.resize_argmax(logits, (1, 4)).numpy()
        array([[[0, 0, 1, 1]]], dtype=int32)
    """
    reject_keras_tensors(
        "resize_argmax",
        "keras.layers.Resizing(height, width) and keras.ops.argmax(..., axis=-1)",
        logits=logits,
        size=size,
    )
    logits = tf.convert_to_tensor(logits)
    if logits.dtype not in _FLOATS:
        raise TypeError(
            f"logits must be floating (float32, float16, bfloat16 or float64), got dtype {logits.dtype.name}"
        )
    if logits.shape.rank is not None and logits.shape.rank != 4:
        raise ValueError(f"logits must have rank 4, [batch, height, width, classes], got shape {logits.shape}")
    if logits.shape.rank is not None and 0 in logits.shape[1:]:
        raise ValueError(
            f"logits must have a height, a width and a number of classes of at least 1, got shape {logits.shape}"
        )
    size = _size_tensor(size)
    align_corners = as_flag("align_corners", align_corners)

    native = _library.native_op("resize_argmax")
    if native is None:
        return _reference(logits, size, align_corners)
    return native(logits=logits, size=size, align_corners=align_corners)


def _size_tensor(size) -> tf.Tensor:
    # An element may itself be a scalar tensor, as in (tf.shape(image)[1], 512).
    if not tf.is_tensor(size) and not (
        isinstance(size, (list, tuple)) and len(size) == 2 and any(tf.is_tensor(number) for number in size)
    ):
        return tf.constant(as_map_size(size), tf.int32)
    size = tf.convert_to_tensor(size)
    if not size.dtype.is_integer:
        raise TypeError(f"size must be of an integer type, got dtype {size.dtype.name}")
    if not size.shape.is_compatible_with([2]):
        raise ValueError(f"size must have shape [2], (height, width), got shape {size.shape}")
    if size.dtype.size < 4 or size.dtype == tf.int32:
        return tf.cast(size, tf.int32)
    size = to_int64(size)
    fits = tf.debugging.Assert(
        tf.reduce_all(size <= MAX_MAP_SIZE), [f"size must be at most {MAX_MAP_SIZE} per axis, got", size]
    )
    with tf.control_dependencies([] if fits is None else [fits]):
        return to_int32(size)


tf.no_gradient("Kseg>ResizeArgmax")
