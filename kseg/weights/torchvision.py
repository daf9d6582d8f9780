"""torchvision's names of the tensors of segmentation networks."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import keras

from kseg.models import FCN, LRASPP, DeepLabV3
from kseg.weights.backbone_slots import backbone_of, backbone_slots
from kseg.weights.slots import Slot, classifier, conv_norm, convolution, pyramid, sequence

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
def _(model: FCN):
    yield from _fcn_head(model, "classifier")
    yield from _auxiliary(model)


@_head_slots.register
def _(model: DeepLabV3):
    yield from pyramid("classifier.0", model.get_layer("classifier_0"))
    yield from conv_norm("classifier.1", "classifier.2", model.get_layer("classifier_1"))
    yield from classifier("classifier.4", model.get_layer("classifier_4"))
    yield from _auxiliary(model)


def _auxiliary(model):
    """The auxiliary head, where the model has one."""
    if any(layer.name == "aux_classifier_0" for layer in model.layers):
        yield from _fcn_head(model, "aux_classifier")


def _fcn_head(model, name):
    yield from sequence(name, model.get_layer(f"{name}_0"))
    yield from classifier(f"{name}.4", model.get_layer(f"{name}_4"))


@_head_slots.register
def _(model: LRASPP):
    yield from sequence("classifier.cbr", model.get_layer("classifier_cbr_0"))
    yield from convolution("classifier.scale.1", model.get_layer("classifier_scale_1"))
    for name in ("low_classifier", "high_classifier"):
        yield from classifier(f"classifier.{name}", model.get_layer(f"classifier_{name}"))
