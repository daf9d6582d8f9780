"""Every loss, with its plain reference, as the tests of their common properties take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from kseg.losses import (
    Boundary,
    CrossEntropy,
    DeepSupervision,
    Dice,
    Focal,
    FocalTversky,
    Hausdorff,
    Jaccard,
    LovaszHinge,
    LovaszSoftmax,
    OnlineHardPixels,
    Tversky,
    WeightedSum,
)
from tests.helpers import loss_references as reference


class Case(NamedTuple):
    """A loss.

    Attributes:
        make: constructs it; takes its further arguments by name.
        reference: the same in NumPy float64, of labels and logits.
        channels: of the logits that the tests draw.
        scaling: the power with which a constant sample weight scales the loss: 1, or 0 where it cancels.
        weighted: makes the loss with class weights, by class number; None where there are none.
        outputs: how many logits it takes.
    """

    make: Callable
    reference: Callable
    channels: int = 3
    scaling: int = 1
    weighted: Callable | None = None
    outputs: int = 1

    def value(self, loss, y, logits, weight=None):
        return loss(y, [logits] * self.outputs if self.outputs > 1 else logits, sample_weight=weight)


def _case(kind, of, *, classes=True, smooth=False, **options):
    """A case of a loss of no further arguments, with class weights."""
    fixed = {"smooth": 0.0} if smooth else {}

    def make(**arguments):
        return kind(**{**fixed, **arguments})

    weighted = (lambda weights: make(class_weights=weights)) if classes else None
    return Case(make, of, weighted=weighted, **options)


def _region(of_sums, **settings):
    return lambda y, logits: reference.region(y, logits, lambda *sums: of_sums(*sums, **settings))


CASES = {
    "cross_entropy": _case(CrossEntropy, lambda y, x: reference.cross_entropies(y, x).mean()),
    "focal": _case(Focal, reference.focal),
    "dice": _case(Dice, _region(reference.dice, smooth=0.0), smooth=True, scaling=0),
    "jaccard": _case(Jaccard, _region(reference.jaccard, smooth=0.0), smooth=True, scaling=0),
    "tversky": _case(Tversky, _region(reference.tversky, smooth=0.0), smooth=True, scaling=0),
    "focal_tversky": _case(FocalTversky, _region(reference.focal_tversky), scaling=None),
    "lovasz_softmax": _case(LovaszSoftmax, reference.lovasz_softmax, scaling=0),
    "lovasz_hinge": _case(LovaszHinge, reference.lovasz_hinge, classes=False, channels=2, scaling=0),
    "boundary": _case(Boundary, reference.boundary),
    "hausdorff": _case(Hausdorff, reference.hausdorff),
    "hard_threshold": Case(
        lambda **kw: OnlineHardPixels(threshold=0.3, min_kept=4, **kw),
        lambda y, x: reference.hardest(y, x, threshold=0.3, min_kept=4),
        weighted=lambda weights: OnlineHardPixels(threshold=0.3, min_kept=4, class_weights=weights),
    ),
    "hard_fraction": Case(
        lambda **kw: OnlineHardPixels(threshold=None, fraction=0.3, **kw),
        lambda y, x: reference.hardest(y, x, fraction=0.3),
        weighted=lambda weights: OnlineHardPixels(threshold=None, fraction=0.3, class_weights=weights),
    ),
    "sum": Case(
        lambda **kw: WeightedSum([CrossEntropy(**kw), Jaccard(smooth=0.0, **kw)], [1.0, 0.5]),
        lambda y, x: (
            reference.cross_entropies(y, x).mean()
            + 0.5 * reference.region(y, x, lambda *sums: reference.jaccard(*sums, smooth=0.0))
        ),
        scaling=None,
        weighted=lambda weights: WeightedSum([CrossEntropy(class_weights=weights), Jaccard(class_weights=weights)]),
    ),
    "deep_supervision": Case(
        lambda **kw: DeepSupervision(Focal(**kw), [0.5, 0.25]),
        lambda y, x: 0.75 * reference.focal(y, x),
        weighted=lambda weights: DeepSupervision(Focal(class_weights=weights), [0.5, 0.25]),
        outputs=2,
    ),
}


def draw(case, seed=0, size=(2, 5, 6), void=0.25):
    """Labels with void pixels (and each class in each image) and float32 logits."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, case.channels, size)
    y.reshape(size[0], -1)[:, : case.channels] = np.arange(case.channels)
    is_void = rng.random(size) < void
    is_void.reshape(size[0], -1)[:, : case.channels] = False
    y[is_void] = 255
    return y.astype("int32"), rng.normal(size=(*size, case.channels)).astype("float32")


def gradient(case, loss, y, logits, weight=None):
    """Value and gradient."""
    logits = tf.convert_to_tensor(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = case.value(loss, y, logits, weight)
    return value, tape.gradient(value, logits)
