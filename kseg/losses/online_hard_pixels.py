"""Cross-entropy of the hardest pixels."""

from __future__ import annotations

import math
import numbers

import keras
import tensorflow as tf

from kseg._class_arguments import is_finite_number
from kseg.losses.cross_entropy import CrossEntropy
from kseg.losses.targets import class_weight_vector, pixel_weights


@keras.saving.register_keras_serializable(package="kseg")
class OnlineHardPixels(CrossEntropy):
    """Cross-entropy averaged over the hardest pixels of the batch: online hard example mining, or top-k loss.

    Hard is a pixel whose true class has a low probability. Either all pixels below a `threshold` are kept, and at least
    the `min_kept` hardest of the batch; or the hardest `fraction` of the valid pixels. The mean is over the pixels
    kept, the others have no gradient. Sources: Shrivastava, Gupta, Girshick: "Training Region-based Object Detectors
    with Online Hard Example Mining", 2016, https://arxiv.org/abs/1604.03540; for pixels, Wu, Shen, van den Hengel:
    "Bridging Category-level and Instance-level Semantic Image Segmentation", 2016,
    https://arxiv.org/abs/1605.06885 (threshold and least number), and Bulo, Neuhold, Kontschieder: "Loss Max-Pooling
    for Semantic Image Segmentation", 2017, https://arxiv.org/abs/1704.02966.

    Void pixels and pixels whose sample weight or class weight is 0 are never among the kept. Pixels exactly as hard as
    the last one kept are kept too, so that the order of pixels does not matter.

    Args:
        threshold: in (0, 1): pixels whose true class has less than this probability are kept. None with `fraction`.
        min_kept: how many pixels of a batch are kept at least, if it has as many; a number from 1 up. Used with
            `threshold`.
        fraction: in (0, 1]: this part of the valid pixels of a batch is kept, rounded up. None with `threshold`.
        ignore_index: the label of void pixels, any int, or None if there are none.
        class_weights: as in `CrossEntropy`; they do not change which pixels are hard.
        label_smoothing: as in `CrossEntropy`; it does not change which pixels are hard.
        reduction: as in `SegmentationLoss`, with the kept pixels in place of the valid ones.
        name: as in Keras.

    Call arguments, range checks and errors: see `SegmentationLoss`.

    Raises:
        ValueError: an argument outside its range; both or neither of `threshold` and `fraction`.

    Example:
        >>> loss = OnlineHardPixels(threshold=None, fraction=0.25)
        >>> logits = np.array([[[[2.0, 0.0], [1.0, 0.0], [0.0, 0.0], [3.0, 0.0]]]])
        >>> round(float(loss(np.zeros((1, 1, 4), int), logits)), 4)  # log(2), of the third pixel
        0.6931
    """

    def __init__(
        self,
        threshold=0.7,
        min_kept=100_000,
        fraction=None,
        ignore_index=255,
        class_weights=None,
        label_smoothing=0.0,
        reduction="sum_over_batch_size",
        name="online_hard_pixels",
    ):
        super().__init__(ignore_index, class_weights, label_smoothing, reduction, name)
        if (threshold is None) == (fraction is None):
            raise ValueError(
                "give either threshold (with min_kept) or fraction, and None for the other; got "
                f"threshold={threshold!r} and fraction={fraction!r}"
            )
        if threshold is not None and not (is_finite_number(threshold) and 0 < threshold < 1):
            raise ValueError(f"threshold must be a probability in (0, 1); got {threshold!r}")
        if fraction is not None and not (is_finite_number(fraction) and 0 < fraction <= 1):
            raise ValueError(f"fraction must be in (0, 1]; got {fraction!r}")
        if isinstance(min_kept, bool) or not isinstance(min_kept, numbers.Integral) or min_kept < 1:
            raise ValueError(f"min_kept must be an int of at least 1; got {min_kept!r}")
        self.threshold = threshold
        self.min_kept = min_kept
        self.fraction = fraction

    def select(self, targets, sample_weight):
        entropy = self.entropy(targets, 0.0)
        hardness = tf.stop_gradient(entropy)
        candidates = targets.valid
        if sample_weight is not None:
            candidates &= pixel_weights(sample_weight, targets.labels) > 0
        if self.class_weights is not None:
            weights = class_weight_vector(self.class_weights, targets.num_classes)
            candidates &= tf.gather(weights, targets.labels) > 0
        hardness = tf.where(candidates, hardness, -tf.ones_like(hardness))
        kept = hardness >= self._least_hardness(hardness, candidates)
        if self.threshold is not None:
            kept |= hardness > -math.log(self.threshold)
        if not self.label_smoothing:
            targets = targets._replace(entropy=entropy)
        return targets._replace(valid=candidates & kept)

    def _least_hardness(self, hardness, candidates):
        """How hard the last of the pixels is that are kept whatever the threshold."""
        pixels = tf.size(hardness)
        number = tf.reduce_sum(tf.cast(candidates, tf.int32))
        # The number to sort depends on the shape only, as XLA needs it.
        kept, most = self._number_kept(number), self._number_kept(pixels)
        # One more than there are, so that an empty batch has a first.
        hardest = tf.math.top_k(tf.concat([tf.reshape(hardness, [-1]), [-1.0]], 0), tf.maximum(most, 1)).values
        return tf.gather(hardest, tf.maximum(kept - 1, 0))

    def _number_kept(self, number):
        if self.fraction is None:
            return tf.minimum(number, min(self.min_kept, 2**31 - 1))
        # A product that is a whole number but for its rounding is that whole number.
        part = tf.cast(number, tf.float64) * (self.fraction * (1 - 2.0**-50))
        return tf.cast(tf.math.ceil(part), tf.int32)

    def get_config(self):
        config = {**super().get_config(), "threshold": self.threshold, "min_kept": self.min_kept}
        return {**config, "fraction": self.fraction}
