"""A weighted sum of losses."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg._class_arguments import is_finite_number
from kseg.losses.cross_entropy import CrossEntropy
from kseg.losses.region_loss import RegionLoss, small_sums
from kseg.losses.targets import prepare_targets


@keras.saving.register_keras_serializable(package="kseg")
class WeightedSum(keras.losses.Loss):
    """`sum(weight * loss)`, for example cross-entropy plus Dice.

    Each loss reduces by itself, with its own `ignore_index`, class weights and policy for absent classes; sample
    weights go to each of them. If the logits are smaller than the labels, a cross-entropy and the losses made of
    sums (`Dice`, `Jaccard`, `Tversky`, `FocalTversky`) share one sweep over them, if their `ignore_index` is the same.

    Args:
        losses: Keras losses (objects, names or configurations).
        weights: one number per loss; 1 each by default.
        name: as in Keras.

    Call arguments:
        y_true, y_pred, sample_weight: what the losses take.

    Returns:
        The sum: float32, a scalar unless a loss has `reduction=None`.

    Raises:
        ValueError: no loss; another number of weights than of losses; a weight that is no finite number.

    Example:
        >>> loss = WeightedSum([CrossEntropy(), Dice()], weights=[1.0, 0.5])
    """

    def __init__(self, losses, weights=None, name="weighted_sum"):
        super().__init__(name=name, dtype="float32")
        self.losses = [keras.losses.get(loss) for loss in losses]
        if not self.losses:
            raise ValueError("losses must hold at least one loss; got none")
        weights = [1.0] * len(self.losses) if weights is None else list(weights)
        if not all(is_finite_number(weight) for weight in weights):
            raise ValueError(f"weights must be finite numbers, one per loss; got {weights!r}")
        self.weights = [float(weight) for weight in weights]
        if len(self.weights) != len(self.losses):
            raise ValueError(f"weights must have one number per loss, {len(self.losses)}; got {len(self.weights)}")

    @property
    def takes_smaller_logits(self):
        """Whether every one of the losses does."""
        return all(getattr(loss, "takes_smaller_logits", False) for loss in self.losses)

    def __call__(self, y_true, y_pred, sample_weight=None):
        prepared = self._shared_targets(y_true, y_pred, sample_weight)
        total = 0.0
        for index, (weight, loss) in enumerate(zip(self.weights, self.losses, strict=True)):
            if index in prepared:
                with tf.name_scope(loss.name):
                    total += weight * loss.of_targets(prepared[index], sample_weight)
            else:
                total += weight * loss(y_true, y_pred, sample_weight=sample_weight)
        return total

    def _shared_targets(self, y_true, y_pred, sample_weight):
        """Targets of the losses that share a sweep over small logits, by their places.

        These are, for each `ignore_index`, the first cross-entropy and the losses made of sums.
        """
        shared = {}
        for ignore_index in dict.fromkeys(loss.ignore_index for loss in self.losses if isinstance(loss, RegionLoss)):
            places = [i for i, loss in enumerate(self.losses) if getattr(loss, "ignore_index", "") == ignore_index]
            regions = [i for i in places if isinstance(self.losses[i], RegionLoss)]
            entropies = [i for i in places if type(self.losses[i]) is CrossEntropy][:1]
            if len(entropies) + len(regions) < 2:
                continue
            targets = prepare_targets(y_true, y_pred, ignore_index)
            if not targets.small:
                return {}
            smoothing = self.losses[entropies[0]].label_smoothing if entropies else 0.0
            sums = small_sums(targets, sample_weight, smoothing)
            targets = targets._replace(entropy=sums.loss if entropies else None, region_sums=sums)
            shared.update(dict.fromkeys([*entropies, *regions], targets))
        return shared

    def call(self, y_true, y_pred):
        return self(y_true, y_pred)

    def get_config(self):
        return {
            "name": self.name,
            "losses": [keras.losses.serialize(loss) for loss in self.losses],
            "weights": list(self.weights),
        }
