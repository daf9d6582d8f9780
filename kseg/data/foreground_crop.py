"""Crops around pixels of the foreground."""

from __future__ import annotations

from numbers import Integral

import tensorflow as tf

from kseg.data.crop_place import CropPlace


class ForegroundCrop(CropPlace):
    """Random crops around a pixel that is not background.

    One pixel is drawn uniformly among all that are neither background nor void: large objects get more crops than small
    ones, and images without foreground are cropped anywhere. `kseg.data.ClassBalancedCrop` draws a class first.

    Args:
        probability: of such a crop; otherwise the crop lies anywhere. nnU-Net takes a third.
        background: the class that is no foreground.
        spread: how far the pixel may lie from the centre of the crop: 0 puts it there, 1 anywhere in the crop.

    Raises:
        ValueError, TypeError: an argument out of its range; when the source is known: a background that is no class.

    Example:
        >>> crops = kseg.data.ForegroundCrop(probability=1 / 3)
        >>> train = kseg.data.from_folder("data/images", "data/masks", 8, crop_size=256, random_crop=crops)

    Source: the foreground oversampling of nnU-Net (Isensee et al. 2021).
    """

    def __init__(self, probability: float = 1.0, background: int = 0, spread: float = 0.0):
        super().__init__(probability, spread)
        if isinstance(background, bool) or not isinstance(background, Integral):
            raise TypeError(f"background must be a class number, got {background!r}")
        self.background = background

    def check(self, num_classes: int) -> None:
        if not 0 <= self.background < num_classes:
            raise ValueError(
                f"background must be one of the source's classes 0..{num_classes - 1}, got {self.background}"
            )

    def wanted(self, mask, seed, num_classes, ignore_index):
        del seed, ignore_index
        return (mask >= 0) & (mask < num_classes) & tf.not_equal(mask, self.background)

    def get_config(self) -> dict:
        return {"probability": self.probability, "background": self.background, "spread": self.spread}
