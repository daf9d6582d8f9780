"""What of a compiled model's losses and metrics Keras does not tell."""

from __future__ import annotations

import keras


class _FunctionLoss(keras.losses.Loss):
    """A loss function as a loss: what Keras makes of it in `compile`."""

    def __init__(self, function):
        super().__init__(name=getattr(function, "__name__", "loss"))
        self.function = function

    def call(self, y_true, y_pred):
        return self.function(y_true, y_pred)


def take_small_logits(loss) -> bool:
    """Whether everything compiled as `loss` upsamples logits by itself."""
    return all(getattr(one, "takes_smaller_logits", False) for one in keras.tree.flatten(loss))


def take_classes(metrics, num_classes) -> bool:
    """Whether everything compiled as `metrics` is content with classes, and counts as many as there are."""
    found = keras.tree.flatten(metrics)
    return all(getattr(one, "takes_classes", False) and one.num_classes == num_classes for one in found)


def single_loss(loss, loss_weights):
    """The one loss that a model is compiled with, and its weight.

    Raises:
        ValueError: there are several.
    """
    losses, weights = keras.tree.flatten(loss), keras.tree.flatten(loss_weights)
    if len(losses) != 1 or len(weights) > 1:
        raise ValueError(f"a model with auxiliary heads must be compiled with one loss, which they share; got {loss!r}")
    found = keras.losses.get(losses[0])
    weight = 1.0 if not weights or weights[0] is None else weights[0]
    return found if isinstance(found, keras.losses.Loss) else _FunctionLoss(found), weight
