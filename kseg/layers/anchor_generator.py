"""Reference boxes at every position of a feature pyramid."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from kseg._class_arguments import is_finite_number
from kseg_ops._pyramid import as_pyramid


@keras.saving.register_keras_serializable(package="kseg")
class AnchorGenerator(keras.layers.Layer):
    """The anchors of a region proposal network: boxes of a few sizes and shapes at every position of every level.

    An anchor of size s and aspect ratio r is `s / sqrt(r)` wide and `s * sqrt(r)` high, its corners rounded to whole
    pixels about `(0, 0)`; the position in row i and column j of a level moves it by `(j * stride, i * stride)`. The
    stride is the image's size divided by the level's, rounded down, for each axis on its own: that of a level that was
    made by leaving out every second position of three is 1.5 times that of the level before.

    Source: Ren et al. 2015, "Faster R-CNN", https://arxiv.org/abs/1506.01497, one size to a level as in Lin et al.
    2017, "FPN", https://arxiv.org/abs/1612.03144; positions and rounding are those of torchvision.

    Args:
        sizes: for each level, the finest first, a size in pixels of the image, or several.
        aspect_ratios: heights divided by widths.
        **kwargs: `name`, `dtype`. The anchors are float32 under every policy.

    Attributes:
        per_position: how many anchors each position has: ratios times sizes.

    Call arguments:
        inputs: `(images, features)`: `(B, H, W, C)`, of which only the size counts, and a dict
            `{"P2": (B, h, w, C), "P3": ...}` with as many levels as `sizes` has.

    Returns:
        A dict of float32 `(h * w * per_position, 4)`, `x1, y1, x2, y2`, by level: those of one position in succession,
        of one aspect ratio one after the other; they reach beyond the image.

    Raises:
        ValueError: sizes or ratios that are no positive numbers, another number of sizes on one level than on another,
            or another number of levels than sizes.

    Example:
        >>> anchors = AnchorGenerator(sizes=(32,), aspect_ratios=(1.0,))
        >>> anchors((np.zeros((1, 8, 8, 3)), {"P2": np.zeros((1, 2, 2, 8))}))["P2"].numpy()[:2].tolist()
        [[-16.0, -16.0, 16.0, 16.0], [-12.0, -16.0, 20.0, 16.0]]
    """

    def __init__(self, sizes=(32, 64, 128, 256, 512), aspect_ratios=(0.5, 1.0, 2.0), **kwargs):
        super().__init__(**{**kwargs, "autocast": False})
        self.cells = [_cell(level, _numbers("aspect_ratios", aspect_ratios)) for level in _by_level(sizes)]
        self.per_position = len(self.cells[0])
        self.sizes = sizes
        self.aspect_ratios = aspect_ratios

    def call(self, inputs):
        images, features = inputs
        levels = as_pyramid(features)
        if len(levels) != len(self.cells):
            raise ValueError(
                f"features must have as many levels as sizes, {len(self.cells)}; got {', '.join(features)}"
            )
        return {
            f"P{number}": _grid(cell, _size(images), _size(level))
            for cell, (number, level) in zip(self.cells, levels.items(), strict=True)
        }

    def get_config(self):
        return {**super().get_config(), "sizes": self.sizes, "aspect_ratios": self.aspect_ratios}


def _by_level(sizes):
    if not isinstance(sizes, (list, tuple)) or not sizes:
        raise ValueError(f"sizes must hold a number, or several, for each level; got {sizes!r}")
    levels = [_numbers("sizes", level if isinstance(level, (list, tuple)) else (level,)) for level in sizes]
    if len({len(level) for level in levels}) > 1:
        raise ValueError(f"sizes must hold equally many numbers for each level; got {sizes!r}")
    return levels


def _numbers(name, values):
    numbers = values if isinstance(values, (list, tuple)) else ()
    if not numbers or not all(is_finite_number(number) and number > 0 for number in numbers):
        raise ValueError(f"{name} must be positive numbers; got {values!r}")
    return np.asarray(numbers, np.float32)


def _cell(sizes, ratios):
    """The anchors about (0, 0), float32 `(ratios * sizes, 4)`."""
    roots = np.sqrt(ratios)
    widths, heights = ((factors[:, None] * sizes).ravel() for factors in (1 / roots, roots))
    return np.round(np.stack([-widths, -heights, widths, heights], axis=1) / 2)


def _size(tensor):
    """Height and width: ints where they are known."""
    dynamic = tf.shape(tensor)
    return [dynamic[axis] if tensor.shape[axis] is None else int(tensor.shape[axis]) for axis in (1, 2)]


def _grid(cell, image, level):
    y, x = (tf.cast(tf.range(places) * (size // places), tf.float32) for size, places in zip(image, level, strict=True))
    x, y = tf.meshgrid(x, y)
    positions = tf.stack([x, y, x, y], axis=-1)
    anchors = tf.reshape(positions[:, :, None] + cell, [-1, 4])
    known = all(isinstance(places, int) for places in level)
    return tf.ensure_shape(anchors, [level[0] * level[1] * len(cell) if known else None, 4])
