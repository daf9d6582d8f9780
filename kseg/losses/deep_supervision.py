"""One loss at several outputs of a network."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import tensorflow as tf

from kseg._class_arguments import is_finite_number


@keras.saving.register_keras_serializable(package="kseg")
class DeepSupervision(keras.losses.Loss):
    """`sum(weight * loss(labels, logits))` over the outputs of a network, each upsampled to the labels within the loss.

    Sources: Lee, Xie, Gallagher, Zhang, Tu: "Deeply-Supervised Nets", 2015, https://arxiv.org/abs/1409.5185; weights
    halved with each resolution and of sum 1: Isensee et al.: "nnU-Net", 2021, https://arxiv.org/abs/1904.08128 (which
    shrinks the labels instead).

    Keras hands the outputs of a model to a compiled loss one at a time. A model with several outputs uses this loss in
    its `compute_loss`:

        >>> class Supervised(keras.Model):
        ...     def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        ...         return DeepSupervision(CrossEntropy())(y, y_pred, sample_weight)

    Args:
        loss: a loss that takes logits smaller than the labels, as kseg's do (object, name or configuration).
        weights: one number per output, in their order; a dict by name where the outputs are a dict. None: 1, 1/2, 1/4
            and so on, divided by their sum, of which the first output has the largest.
        name: as in Keras.

    Call arguments:
        y_true: labels, the same for all outputs: what the loss takes.
        y_pred: a list, tuple or dict of logits, each of the labels' height and width or smaller ones.
        sample_weight: goes to the loss of each output.

    Returns:
        The sum: float32, a scalar unless the loss has `reduction=None`.

    Raises:
        ValueError: weights that are no finite numbers, or none at all; another number or other names of weights than of
            outputs; outputs that are one tensor, or a dict without weights by name; and what the loss raises.

    Example:
        >>> loss = DeepSupervision(WeightedSum([CrossEntropy(), Dice()]), weights=[1.0, 0.4])
        >>> value = loss(np.zeros((1, 4, 4), int), [np.zeros((1, 4, 4, 2)), np.zeros((1, 2, 2, 2))])
    """

    def __init__(self, loss, weights=None, name="deep_supervision"):
        super().__init__(name=name, dtype="float32")
        self.loss = keras.losses.get(loss)
        if self.loss is None:
            raise ValueError("loss must be a loss; got None")
        if weights is not None:
            numbers = list(weights.values() if isinstance(weights, Mapping) else weights)
            if not numbers or not all(is_finite_number(weight) for weight in numbers):
                raise ValueError(
                    "weights must be finite numbers, one per output, as a sequence or a dict by output name; got "
                    f"{weights!r}"
                )
            weights = dict(weights) if isinstance(weights, Mapping) else list(weights)
        self.weights = weights

    def __call__(self, y_true, y_pred, sample_weight=None):
        with tf.name_scope(self.name):
            pairs = self._weighted_outputs(y_pred)
            return sum(weight * self.loss(y_true, logits, sample_weight=sample_weight) for weight, logits in pairs)

    def _weighted_outputs(self, y_pred):
        """Pairs of weights and logits."""
        if isinstance(y_pred, Mapping):
            if not isinstance(self.weights, Mapping) or set(self.weights) != set(y_pred):
                raise ValueError(
                    f"the outputs (y_pred) are a dict of {sorted(y_pred)}: weights must be a dict with a number for "
                    f"each of them; got {self.weights!r}"
                )
            return [(self.weights[name], logits) for name, logits in y_pred.items()]
        if not isinstance(y_pred, (list, tuple)):
            raise ValueError(
                "DeepSupervision takes the list, tuple or dict of a model's outputs (y_pred); got one tensor of shape "
                f"{tuple(y_pred.shape)}. model.compile hands over one output at a time: call this loss in the "
                "model's compute_loss"
            )
        weights = self.weights
        if weights is None:
            weights = [2.0 ** (len(y_pred) - 1 - place) / (2 ** len(y_pred) - 1) for place in range(len(y_pred))]
        if isinstance(weights, Mapping) or len(weights) != len(y_pred) or not y_pred:
            raise ValueError(
                f"weights must have one number per output (y_pred), of which there are {len(y_pred)}; got {weights!r}"
            )
        return list(zip(weights, y_pred, strict=True))

    def call(self, y_true, y_pred):
        return self(y_true, y_pred)

    def get_config(self):
        return {"name": self.name, "loss": keras.losses.serialize(self.loss), "weights": self.weights}
