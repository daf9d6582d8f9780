"""Losses as the settings of a run write them: `ce`, `ce+dice`, `dice+0.01*boundary`."""

from __future__ import annotations

import math

import keras

from kseg import losses

LOSSES = {
    "ce": losses.CrossEntropy,
    "dice": losses.Dice,
    "focal": losses.Focal,
    "jaccard": losses.Jaccard,
    "tversky": losses.Tversky,
    "focal-tversky": losses.FocalTversky,
    "lovasz": losses.LovaszSoftmax,
    "boundary": losses.Boundary,
    "hausdorff": losses.Hausdorff,
    "ohem": losses.OnlineHardPixels,
}


def parse_loss(text: str) -> list[tuple[float, str]]:
    """Takes a sum of losses apart.

    Args:
        text: Names of `LOSSES` joined by "+", each of which may have a factor: "dice+0.01*boundary".

    Returns:
        `(factor, name)` of each.

    Raises:
        ValueError: The text is no such sum.
    """
    terms = []
    for term in text.split("+"):
        factor, star, name = term.rpartition("*")
        try:
            weight = float(factor) if star else 1.0
        except ValueError:
            weight = math.nan
        if name not in LOSSES or not 0 < weight < math.inf:
            raise ValueError(
                f"expected one of {', '.join(LOSSES)}, or a sum such as ce+dice or dice+0.01*boundary, got {text!r}"
            )
        terms.append((weight, name))
    return terms


def make_loss(text: str, ignore_index: int | None, class_weights: tuple | None = None) -> keras.losses.Loss:
    """Makes the loss that `text` names.

    Args:
        text: See `parse_loss`.
        ignore_index: Label of void pixels.
        class_weights: Of every loss of the sum; `None` for each one's own.
    """
    terms = parse_loss(text)
    options = {} if class_weights is None else {"class_weights": class_weights}
    made = [LOSSES[name](ignore_index=ignore_index, **options) for _, name in terms]
    weights = [weight for weight, _ in terms]
    return made[0] if weights == [1.0] else losses.WeightedSum(made, weights)
