"""What decides where a random crop lies."""

from __future__ import annotations

import functools
from collections.abc import Callable
from numbers import Real

import tensorflow as tf

from kseg.data.cropping import place_around, uniform_place


class CropPlace:
    """Base class of the ways to choose crops: a pixel of the mask is drawn, and the crop cut around it.

    With `probability` the crop lies around a pixel that `wanted` marks, drawn uniformly among these; otherwise, and
    where no pixel is marked, it lies anywhere. The crop stays within the image: near its border the pixel is off the
    centre. Images smaller than the crop are padded as always, with void. A choice is a pure function of (mask, seed).

    Args:
        probability: of a crop around a marked pixel, 0 to 1.
        spread: how far the pixel may lie from the centre of the crop: 0 puts it there, 1 anywhere in the crop.

    Raises:
        ValueError: an argument out of its range, named.
    """

    def __init__(self, probability: float = 1.0, spread: float = 0.0):
        for name, value in (("probability", probability), ("spread", spread)):
            if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value <= 1:
                raise ValueError(f"{name} must be a number in 0..1, got {value!r}")
        self.probability = probability
        self.spread = spread

    def wanted(self, mask: tf.Tensor, seed: tf.Tensor, num_classes: int, ignore_index: int | None) -> tf.Tensor:
        """The pixels to crop around.

        Args:
            mask: int32 `(H, W)`.
            seed: int32 `[2]`.
            num_classes: of the source, at least 2.
            ignore_index: the label of void pixels, or None.

        Returns:
            bool `(H, W)`.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement wanted(mask, seed, num_classes, ignore_index)")

    def check(self, num_classes: int) -> None:
        """Raises ValueError where the arguments do not fit a source of `num_classes` classes."""

    def bind(self, num_classes: int, ignore_index: int | None) -> Callable:
        """`(mask, (height, width), seed) -> (top, left)` for masks of these classes, made of stateless ops."""
        num_classes = max(num_classes, 2)  # one logit tells two classes apart
        self.check(num_classes)
        return functools.partial(self._place, num_classes=num_classes, ignore_index=ignore_index)

    def _place(self, mask, size, seed, num_classes, ignore_index):
        seeds = tf.random.split(seed, num=4)

        def around():
            wanted = self.wanted(mask, seeds[1], num_classes, ignore_index)
            per_row = tf.reduce_sum(tf.cast(wanted, tf.int32), axis=1)
            count = tf.reduce_sum(per_row)
            return tf.cond(
                count > 0, lambda: place_around(mask, size, self._draw(wanted, per_row, count, size, seeds)), anywhere
            )

        def anywhere():
            # Of the undivided seed: the crop that it would be without this choice.
            return uniform_place(mask, size, seed)

        if not self.probability:
            return anywhere()
        return tf.cond(_uniform(seeds[0]) < self.probability, around, anywhere)

    def _draw(self, wanted, per_row, count, size, seeds):
        number = tf.random.stateless_uniform([], seeds[2], 0, count, tf.int32, alg="philox")
        rows = tf.cumsum(per_row)
        # The row in which the pixel of this number lies, and its number there: no pixel is looked at twice.
        row = tf.searchsorted(rows, [number], side="right")[0]
        within = number - (rows[row] - per_row[row])
        column = tf.searchsorted(tf.cumsum(tf.cast(wanted[row], tf.int32)), [within], side="right")[0]
        # Where in the crop the pixel is to lie: within it, however far it may be from the centre.
        extent = tf.constant(size, tf.float32)
        away = (2 * tf.random.stateless_uniform([2], seeds[3], alg="philox") - 1) * extent * (self.spread / 2)
        within = tf.cast(tf.floor(extent / 2 + away), tf.int32)
        return tf.stack([row, column]) + tf.constant(size) // 2 - within

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.get_config().items())})"

    def get_config(self) -> dict:
        """The constructor's arguments; `type(self)(**config)` builds the same one."""
        return {"probability": self.probability, "spread": self.spread}


def _uniform(seed):
    return tf.random.stateless_uniform([], seed, alg="philox")
