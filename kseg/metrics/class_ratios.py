"""The ratios of counts that are scores of a class: each function gives numerators and denominators.

Their arguments are what `ConfusionMatrixMetric.counts` gives: pixels of each class that are right, labelled, predicted.
"""

from __future__ import annotations


def iou(hits, labelled, predicted):
    """Intersection over union: `TP / (TP + FP + FN)`."""
    return hits, labelled + predicted - hits


def dice(hits, labelled, predicted):
    """Dice coefficient, also called F1: `2 TP / (2 TP + FP + FN)`."""
    return 2 * hits, labelled + predicted


def precision(hits, labelled, predicted):
    """The part of the predicted pixels that is right: `TP / (TP + FP)`."""
    del labelled
    return hits, predicted


def recall(hits, labelled, predicted):
    """The part of the labelled pixels that is found: `TP / (TP + FN)`; the literature's class accuracy."""
    del predicted
    return hits, labelled
