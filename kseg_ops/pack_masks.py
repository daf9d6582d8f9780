"""Binary masks with a bit per pixel."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops._checks import reject_keras_tensors
from kseg_ops.reference.mask_bits import pack


@tf.autograph.experimental.do_not_convert
def pack_masks(masks) -> tf.Tensor:
    """Packs masks to one bit per pixel, an eighth of their size.

    Pixel x of a row is bit `x % 8`, the lowest first, of byte `x // 8`; bits beyond the width are 0. It is what
    `np.packbits(masks, axis=-1, bitorder="little")` gives. The width does not show in the result: keep it.

    Args:
        masks: bool or uint8 `[..., H, W]`; anything but 0 is set.

    Returns:
        uint8 `[..., H, ceil(W / 8)]`. Stock TensorFlow operations; no gradient.

    Raises:
        TypeError: `masks` is neither bool nor uint8, or is a KerasTensor.
        ValueError: `masks` has fewer than two axes, or their number is unknown.

    Example:
        >>> kseg_ops.pack_masks(tf.constant([[True, False, True, False, False, False, False, False, True]])).numpy()
        array([[5, 1]], dtype=uint8)
    """
    reject_keras_tensors("pack_masks", "it inside the call() of a keras.layers.Layer", masks=masks)
    masks = tf.convert_to_tensor(masks)
    if masks.dtype not in (tf.bool, tf.uint8):
        raise TypeError(f"masks must be bool or uint8, got {masks.dtype.name}; compare probabilities with a threshold")
    if masks.shape.rank is None or masks.shape.rank < 2:
        raise ValueError(f"masks must have shape [..., H, W], got {masks.shape}")
    return pack(masks)
