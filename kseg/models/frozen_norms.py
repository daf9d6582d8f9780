"""Batch normalisation that keeps its statistics."""

from __future__ import annotations

import keras


def freeze_batch_norms(layer):
    """Make every BatchNormalization inside a layer, at any depth, untrainable.

    Keras then runs it with its stored statistics in training too.
    """
    for inner in _sublayers(layer, set()):
        if isinstance(inner, keras.layers.BatchNormalization):
            inner.trainable = False


def _sublayers(value, seen):
    """All layers that an object holds, itself included, through attributes, lists and dictionaries."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, keras.layers.Layer):
        yield value
        value = vars(value)
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return
    for part in list(value):
        yield from _sublayers(part, seen)
