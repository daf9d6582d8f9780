"""How losses and metrics upsample logits that are smaller than the labels."""

from __future__ import annotations

import contextlib
import contextvars

_align_corners = contextvars.ContextVar("kseg_align_corners", default=False)


@contextlib.contextmanager
def aligned_corners(align_corners: bool):
    """Inside the block, losses upsample small logits with corner pixels that keep their centres, or do not.

    Keras hands a loss nothing but labels and logits, so the model says by this how it upsamples.
    """
    token = _align_corners.set(align_corners)
    try:
        yield
    finally:
        _align_corners.reset(token)


def corners_are_aligned() -> bool:
    """What the innermost `aligned_corners` says; False, which is what `tf.image.resize` does, outside of any."""
    return _align_corners.get()
