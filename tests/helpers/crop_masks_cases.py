"""What the tests of crop_masks share: masks and boxes of all kinds, and every form that masks come in."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg_ops import _library, rle

EPS = float(np.finfo(np.float32).eps)
CORE = _library.core()

needs_native = pytest.mark.skipif(
    _library.native_op("crop_masks") is None or CORE is None, reason="the compiled library is off"
)

FORMS = ("dense", "bool", "packed", "runs")


def native(*args, **kwargs) -> np.ndarray:
    """`kseg_ops.crop_masks` by the compiled op."""
    if _library.native_op("crop_masks") is None:
        pytest.skip("the compiled library is off")
    return kseg_ops.crop_masks(*args, **kwargs).numpy()


def reference(*args, **kwargs) -> np.ndarray:
    """`kseg_ops.crop_masks` in stock TensorFlow."""
    with kseg_ops.use_reference():
        return kseg_ops.crop_masks(*args, **kwargs).numpy()


def discs(seed: int, count: int, height: int, width: int) -> np.ndarray:
    """Round masks, some beyond the border, and one of noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    masks = []
    for _ in range(count):
        centre, radius = random.uniform(0, 1, 2) * (height, width), random.uniform(0.1, 0.7) * max(height, width, 1)
        masks.append(np.hypot(y - centre[0], x - centre[1]) < radius)
    if count:
        masks[-1] = random.random((height, width)) < 0.5
    return np.array(masks, np.uint8).reshape(count, height, width)


def random_boxes(seed: int, count: int, height: int, width: int) -> np.ndarray:
    """Boxes of all kinds: whole and broken coordinates, empty, inverted, across the border, huge, not finite."""
    random = np.random.default_rng(seed)
    corners = random.uniform(-0.3, 1, (count, 2)) * (width, height)
    boxes = np.concatenate([corners, corners + np.exp(random.uniform(-2, 1, (count, 2))) * (width, height)], 1)
    boxes[::2] = np.round(boxes[::2])
    special = [
        [0, 0, width, height],
        [-1e9, -1e9, 1e9, 1e9],
        [-3e38, 0, 3e38, height],
        [5, 2, 1, 1],
        [2, 2, 2, 9],
        [0, 0, np.inf, 4],
        [np.nan, 0, 4, 4],
        [-50, -50, -20, -20],
    ]
    boxes[: len(special)] = special[:count]
    return boxes.astype(np.float32)


def in_form(form: str, masks: np.ndarray) -> dict:
    """The arguments that give these masks to `crop_masks`."""
    if form == "dense":
        return {"masks": masks * 7}
    if form == "bool":
        return {"masks": masks.astype(bool)}
    if form == "packed":
        return {"masks": np.packbits(masks, axis=-1, bitorder="little"), "width": masks.shape[-1]}
    counts = [count for mask in masks for count in [rle.to_counts(rle.encode(mask))]]
    ragged = tf.RaggedTensor.from_row_lengths(
        np.concatenate([np.zeros(0, np.int32), *counts]).astype(np.int32), [len(entry) for entry in counts]
    )
    return {"masks": ragged, "image_size": masks.shape[1:]}
