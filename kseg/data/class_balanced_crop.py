"""Crops around pixels of a class that is drawn first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from kseg._class_arguments import is_finite_number
from kseg.data.crop_place import CropPlace


class ClassBalancedCrop(CropPlace):
    """Random crops around a pixel of a class that is drawn first, so that rare classes are seen as often as wished.

    Of the classes that the image has, one is drawn with the given probabilities (which therefore need not sum to 1), of
    its pixels one uniformly, and the crop is cut around it. Void pixels are never drawn. The crop holds other classes
    too: the probabilities say around what crops lie, not what they hold.

    Args:
        class_probabilities: one number per class, as a sequence or as a dict by class number (0 for those left out);
            None for equal ones.
        probability: of such a crop; otherwise the crop lies anywhere.
        spread: how far the pixel may lie from the centre of the crop: 0 puts it there, 1 anywhere in the crop.

    Raises:
        ValueError: numbers that are negative, not finite or all 0; when the source is known: another number of them
            than classes, or a class that there is not.

    Example:
        >>> crops = kseg.data.ClassBalancedCrop({9: 2.0, 10: 1.0}, probability=0.5)
        >>> train = kseg.data.from_camvid("data/CamVid", 4, crop_size=256, random_crop=crops, shuffle=True)

    Source: the balanced batches of nnU-Net (Isensee et al. 2021), per class.
    """

    def __init__(
        self,
        class_probabilities: Sequence[float] | Mapping[int, float] | None = None,
        probability: float = 1.0,
        spread: float = 0.0,
    ):
        super().__init__(probability, spread)
        given = class_probabilities
        if given is not None:
            if isinstance(given, str) or not hasattr(given, "__len__"):
                raise ValueError(f"class_probabilities must be one number per class, or None, got {given!r}")
            values = list(given.values()) if isinstance(given, Mapping) else list(given)
            if not all(is_finite_number(value) and value >= 0 for value in values) or not any(values):
                raise ValueError(
                    f"class_probabilities must be finite numbers of at least 0, not all of them 0, got {given!r}"
                )
        self.class_probabilities = class_probabilities

    def check(self, num_classes: int) -> None:
        given = self.class_probabilities
        if isinstance(given, Mapping):
            strange = [key for key in given if isinstance(key, bool) or key not in range(num_classes)]
            if strange:
                raise ValueError(
                    f"class_probabilities names class {strange[0]!r}, but the source has the classes "
                    f"0..{num_classes - 1}"
                )
        elif given is not None and len(given) != num_classes:
            raise ValueError(f"class_probabilities must hold {num_classes} numbers, one per class, got {len(given)}")

    def wanted(self, mask, seed, num_classes, ignore_index):
        del ignore_index  # no class, so never counted
        known = (mask >= 0) & (mask < num_classes)
        counts = tf.math.bincount(tf.where(known, mask, num_classes), minlength=num_classes + 1)[:num_classes]
        weights = tf.where(counts > 0, tf.constant(self._weights(num_classes), tf.float32), 0.0)
        ends = tf.cumsum(weights)
        drawn = tf.random.stateless_uniform([], seed, alg="philox") * ends[-1]
        chosen = tf.reduce_sum(tf.cast(ends <= drawn, tf.int32))
        # A product that is rounded up to its excluded end belongs to the last class that has a weight.
        last = tf.reduce_max(tf.where(weights > 0, tf.range(num_classes), -1))
        return tf.equal(mask, tf.minimum(chosen, last)) & known

    def get_config(self) -> dict:
        return {"class_probabilities": self.class_probabilities, **super().get_config()}

    def _weights(self, num_classes):
        given = self.class_probabilities
        if given is None:
            return [1.0] * num_classes
        if isinstance(given, Mapping):
            return [float(given.get(number, 0.0)) for number in range(num_classes)]
        return [float(value) for value in given]
