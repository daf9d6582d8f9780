"""torchvision's names of the tensors of segmentation networks."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import keras

from kseg.models import LRASPP
from kseg.weights.backbone_slots import backbone_of, backbone_slots
from kseg.weights.slots import Slot, classifier, convolution, sequence

BACKBONE = "backbone."


def model_slots(model: keras.Model) -> Iterator[Slot]:
    """The slots of a model: backbone and heads.

    Raises:
        TypeError: torchvision has no such model.
    """
    heads = _head_slots(model)
    yield from backbone_slots(backbone_of(model), BACKBONE)
    yield from heads


@functools.singledispatch
def _head_slots(model):
    raise TypeError(f"torchvision has no network like {type(model).__name__}, so no weights for it")


@_head_slots.register
def _(model: LRASPP):
    yield from sequence("classifier.cbr", model.get_layer("classifier_cbr_0"))
    yield from convolution("classifier.scale.1", model.get_layer("classifier_scale_1"))
    for name in ("low_classifier", "high_classifier"):
        yield from classifier(f"classifier.{name}", model.get_layer(f"classifier_{name}"))
