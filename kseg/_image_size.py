"""The check that images are large enough for a network whose features shrink to nothing otherwise."""

from __future__ import annotations

import tensorflow as tf


def check_image_size(images, smallest, reason, fix):
    """Refuse images that are too small.

    Args:
        images: tensor `(B, H, W, C)`, in a graph or not, or a KerasTensor, of which unknown sizes pass.
        smallest: the least height and width.
        reason: what needs them so large, as the end of a sentence.
        fix: what to do about it, a clause.

    Raises:
        ValueError: as far as sizes are known while a graph is traced.
        tf.errors.InvalidArgumentError: when the graph runs, where they are not; not under XLA, which knows all sizes.
    """
    message = f"images must be at least {smallest} x {smallest} pixels {reason}"
    sizes = images.shape[1:3]
    if any(size is not None and size < smallest for size in sizes):
        raise ValueError(f"{message}; got {sizes[0]} x {sizes[1]}. {fix}")
    if None in tuple(sizes) and tf.is_tensor(images):
        tf.debugging.assert_greater_equal(tf.shape(images)[1:3], smallest, message=f"{message}. {fix}")
