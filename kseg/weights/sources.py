"""Where a checkpoint comes from, told by its tensors' names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import keras

from kseg.backbones import Backbone
from kseg.models import FasterRCNN, SegmentationModel
from kseg.weights import segmentation_models, torchvision, torchvision_detection
from kseg.weights.backbone_slots import backbone_of, backbone_slots, features_prefix
from kseg.weights.errors import WeightsError, listed
from kseg.weights.slots import Slot


@dataclasses.dataclass(frozen=True)
class Source:
    """How a library names the tensors of a network.

    Attributes:
        title: the library.
        marks: beginnings of names; every checkpoint of this source has one of them, and none of another has.
        not_marks: beginnings of names that are none of these all the same.
        backbone_prefix: from a backbone to what stands before its tensors' names.
        heads: beginnings of the names that are no backbone's.
        model_slots: from a model to its slots; None where the networks of this source are not that.
        current_name: from a name in a file to that of the slot, where files of different age differ.
        unused: whether a model has no use for a tensor that its checkpoints have, given its name and the slots.
    """

    title: str
    marks: tuple[str, ...]
    backbone_prefix: Callable[[Backbone], str]
    heads: tuple[str, ...]
    model_slots: Callable[[keras.Model], Iterator[Slot]] | None = None
    not_marks: tuple[str, ...] = ()
    current_name: Callable[[str], str] = lambda name: name
    unused: Callable[[keras.Model, str, list[Slot]], bool] = lambda model, name, slots: False

    def names(self, name: str) -> bool:
        """Whether a tensor's name is one by which the source is known."""
        return name.startswith(self.marks) and not (self.not_marks and name.startswith(self.not_marks))

    def slots(self, model: keras.Model, path: Path) -> list[Slot]:
        """The slots of a model or a backbone; the path is for errors.

        Raises:
            TypeError: there are no published names for it.
            WeightsError: the source has no such networks.
        """
        if isinstance(model, Backbone):
            return list(backbone_slots(model, self.backbone_prefix(model)))
        if self.model_slots is None:
            backbone_of(model)
            raise WeightsError(
                f"{path} is of {self.title}, and {type(model).__name__} is a segmentation model: load it into its "
                'backbone, model.get_layer("backbone")'
            )
        return list(self.model_slots(model))

    def leaves_out(self, model: keras.Model, name: str, slots: list[Slot]) -> bool:
        """Whether a tensor of a checkpoint is not for this model."""
        if isinstance(model, Backbone):
            return name.startswith(self.heads)
        return self.unused(model, name, slots)


SOURCES = (
    Source(
        "torchvision",
        marks=("backbone.",),
        backbone_prefix=lambda backbone: torchvision.BACKBONE,
        heads=("classifier.", "aux_classifier."),
        model_slots=torchvision.model_slots,
        not_marks=(torchvision_detection.BACKBONE, *torchvision_detection.PARTS),
    ),
    Source(
        "torchvision detection",
        marks=(torchvision_detection.BACKBONE, *torchvision_detection.PARTS),
        backbone_prefix=lambda backbone: torchvision_detection.BACKBONE,
        heads=torchvision_detection.PARTS,
        model_slots=torchvision_detection.model_slots,
        current_name=torchvision_detection.current_name,
    ),
    Source(
        "torchvision classification",
        marks=("features.", "conv1."),
        backbone_prefix=features_prefix,
        heads=("classifier.", "fc."),
    ),
    Source(
        "segmentation-models-pytorch",
        marks=("encoder.",),
        backbone_prefix=segmentation_models.encoder_prefix,
        heads=("decoder.", "segmentation_head.", "classification_head."),
        model_slots=segmentation_models.model_slots,
        unused=segmentation_models.unused,
    ),
)


def check_model(model):
    """Refuse what no published weights can be loaded into.

    Raises:
        TypeError: neither a model nor a backbone of kseg.
    """
    if not isinstance(model, (Backbone, FasterRCNN, SegmentationModel)):
        raise TypeError(
            "model must be a model of kseg, such as kseg.DeepLabV3(...), or a backbone of kseg.backbones; got "
            + (f"a {type(model).__name__}" if isinstance(model, keras.layers.Layer) else repr(model))
        )


def without_common_prefix(state: dict) -> dict:
    """A state dictionary without a part that all names begin with, such as `model.`, if a known source is under it.

    Training frameworks keep a network as an attribute of a module of theirs, whose name then stands before each
    tensor's.
    """
    first = next(iter(state), "").partition(".")[0]
    prefix = f"{first}."
    if not all(name.startswith(prefix) for name in state) or _sources(state):
        return state
    inner = {name.removeprefix(prefix): value for name, value in state.items()}
    return inner if _sources(inner) else state


def _sources(names):
    return [source for source in SOURCES if any(map(source.names, names))]


def recognise(names: Iterable[str], path: Path) -> Source:
    """The source that names its tensors so.

    Raises:
        WeightsError: none does, or several.
    """
    names = list(names)
    found = _sources(names)
    if len(found) == 1:
        return found[0]
    known = "; ".join(f"{source.title}: {' or '.join(f'{mark}*' for mark in source.marks)}" for source in SOURCES)
    if found:
        examples = [next(filter(source.names, names)) for source in found]
        raise WeightsError(f"{path} has tensors of several sources at once, {listed(examples)}. Those are {known}")
    first = names[0].partition(".")[0] if names else ""
    common = ""
    if len(names) > 1 and all(name.startswith(f"{first}.") for name in names):
        common = f". All names begin with {first}., and what follows that is of no known source either"
    raise WeightsError(
        f"{path} has tensors of no known source: {listed(sorted(names), 5)}{common}. Expected names of one of {known}"
    )
