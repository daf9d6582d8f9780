"""What the tests of the ops on binary masks share."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import kseg_ops
from kseg_ops import _library

CORE = _library.core()

needs_native = pytest.mark.skipif(
    _library.native_op("mask_iou") is None or CORE is None, reason="the compiled library is off"
)


def in_form(form: str, op: str):
    """The function `kseg_ops.<op>`, by the compiled op or by its reference."""
    function = getattr(kseg_ops, op)
    if form == "native":
        if _library.native_op(op) is None:
            pytest.skip("the compiled library is off")
        return function

    @functools.wraps(function)
    def reference(*args, **kwargs):
        with kseg_ops.use_reference():
            return function(*args, **kwargs)

    return reference


both_forms = pytest.mark.parametrize("form", ["native", "reference"])


def random_masks(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Rectangles of any size, some with holes, some empty; set pixels are any number but 0."""
    generator = np.random.default_rng(seed)
    masks = np.zeros((count, height, width), np.uint8)
    for index in range(count):
        y, x = generator.integers(0, height), generator.integers(0, width)
        bottom, right = y + generator.integers(0, height + 1), x + generator.integers(0, width + 1)
        masks[index, y:bottom, x:right] = generator.integers(1, 256)
        if index % 3 == 0:
            masks[index] *= generator.random((height, width)) < 0.7
    return masks
