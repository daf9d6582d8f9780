"""What the tests of multilevel_roi_align share."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg_ops import _library

EPS = float(np.finfo(np.float32).eps)
CORE = _library.core()

needs_native = pytest.mark.skipif(
    _library.native_op("multilevel_roi_align") is None or CORE is None, reason="the compiled library is off"
)


def reference(*args, **kwargs):
    """`kseg_ops.multilevel_roi_align` in stock TensorFlow."""
    with kseg_ops.use_reference():
        return kseg_ops.multilevel_roi_align(*args, **kwargs)


def native(*args, **kwargs):
    """`kseg_ops.multilevel_roi_align` by the compiled op."""
    if _library.native_op("multilevel_roi_align") is None:
        pytest.skip("the compiled library is off")
    return kseg_ops.multilevel_roi_align(*args, **kwargs)


both = pytest.mark.parametrize("pool", [native, reference], ids=["native", "reference"])


def gradients_of(function, features, boxes, upstream, *args, **kwargs) -> dict[str, np.ndarray]:
    """The gradient of `function` with respect to each level, for an upstream gradient."""
    features = {name: tf.convert_to_tensor(level) for name, level in features.items()}
    with tf.GradientTape() as tape:
        tape.watch(features)
        pooled = function(features, boxes, *args, **kwargs)
    gradients = tape.gradient(pooled, features, tf.cast(upstream, pooled.dtype))
    return {name: gradient.numpy() for name, gradient in gradients.items()}


def random_case(seed, channels=3, levels=(3, 2, 5), size=(90, 120), count=14, dtype=np.float32):
    """A pyramid, in no order, over an image of `size`, and boxes `[2, count, 4]` of all kinds and for all levels."""
    generator = np.random.default_rng(seed)
    height, width = size
    features = {
        f"P{level}": generator.uniform(-1, 1, (2, -(-height >> level), -(-width >> level), channels)).astype(dtype)
        for level in levels
    }
    corners = generator.uniform(-20, 100, (2, count, 2))
    sizes = np.exp(generator.uniform(np.log(2), np.log(900), (2, count, 2)))
    boxes = np.concatenate([corners, corners + sizes], -1).astype(np.float32)
    boxes[0, :6] = [
        [0, 0, 0, 0],
        [np.nan, 1, 20, 20],
        [0, 0, np.inf, 5],
        [50, 40, 10, 60],  # inverted on one axis: negative area
        [500, 400, 10, 10],  # inverted on both
        [-1e30, -1e30, 1e30, 1e30],  # its area overflows
    ]
    return features, boxes


def by_single_levels(features, boxes, output_size, sampling_ratio, aligned, choose) -> np.ndarray:
    """Box by box through `kseg_ops.roi_align` on the level that `choose` names for it."""
    rows = []
    for image in range(boxes.shape[0]):
        for box in boxes[image]:
            level = choose(box)
            rows.append(
                kseg_ops.roi_align(
                    features[f"P{level}"], box[None], [image], output_size, 2.0**-level, sampling_ratio, aligned
                ).numpy()[0]
            )
    return np.stack(rows).reshape(*boxes.shape[:2], *np.shape(rows[0]))
