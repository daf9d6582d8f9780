"""Binary masks from a bit per pixel to a byte per pixel."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops._checks import MAX_MAP_SIZE, as_int, reject_keras_tensors
from kseg_ops.reference.mask_bits import unpack


@tf.autograph.experimental.do_not_convert
def unpack_masks(packed, width: int) -> tf.Tensor:
    """The inverse of `pack_masks`.

    Args:
        packed: uint8 `[..., H, ceil(width / 8)]`; bits beyond the width are ignored.
        width: W, which the packed form does not tell.

    Returns:
        uint8 `[..., H, width]` of 0 and 1. Stock TensorFlow operations; no gradient.

    Raises:
        TypeError: `packed` is not uint8 or is a KerasTensor, or `width` is not an integer.
        ValueError: `packed` has fewer than two axes, or rows of another size.

    Example:
        >>> kseg_ops.unpack_masks(tf.constant([[5, 1]], tf.uint8), width=9).numpy()
        array([[1, 0, 1, 0, 0, 0, 0, 0, 1]], dtype=uint8)
    """
    reject_keras_tensors("unpack_masks", "it inside the call() of a keras.layers.Layer", packed=packed)
    width = as_int("width", width, 0, MAX_MAP_SIZE)
    packed = tf.convert_to_tensor(packed)
    if packed.dtype != tf.uint8:
        raise TypeError(f"packed must be uint8, got {packed.dtype.name}")
    if packed.shape.rank is None or packed.shape.rank < 2:
        raise ValueError(f"packed must have shape [..., H, ceil(width / 8)], got {packed.shape}")
    if packed.shape[-1] not in (None, (width + 7) // 8):
        raise ValueError(f"packed must have ceil(width / 8) = {(width + 7) // 8} bytes per row, got {packed.shape}")
    return unpack(packed, width)
