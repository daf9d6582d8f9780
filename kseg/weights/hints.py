"""What to do about tensors that do not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import keras

from kseg.weights import torchvision_detection
from kseg.weights.errors import listed
from kseg.weights.slots import Slot

# Parts of published networks that a model has or has not, by a setting.
_AUXILIARY = ("aux_classifier", "classification_head")


def hints_for(model: keras.Model, slots: list[Slot]) -> Callable[[set, set, dict], Iterator[str]]:
    """A function from missing and surplus names and mis-shaped shapes to sentences that say how to mend it."""

    def hints(missing, surplus, misshaped):
        yield from _classes(slots, misshaped)
        yield from _channels(slots, misshaped)
        yield from _auxiliary(missing, surplus)
        yield from _other_head(slots, surplus)
        yield from _backbone(model, slots, missing, surplus)

    return hints


def _classes(slots, misshaped):
    """Another number of classes."""
    wrong = [slot for slot in slots if slot.per_class and _differs_only_in(slot, misshaped, axis=0)]
    if wrong:
        layers = list(dict.fromkeys(slot.name.rpartition(".")[0] for slot in wrong))
        theirs, ours = (shape[0] - wrong[0].background for shape in (misshaped[wrong[0].name], wrong[0].shape))
        beside = ", the background not counted" if wrong[0].background else ""
        yield (
            f"The file's network has num_classes={theirs}{beside}, the model num_classes={ours}: build the model with "
            f"{theirs}, or load all but its last layer{'s' if len(layers) > 1 else ''} with skip={layers}."
        )


def _channels(slots, misshaped):
    """Another number of image channels, which changes the first kernel and nothing else."""
    kernels = [slot for slot in slots if len(slot.axes) == 4]
    if kernels and _differs_only_in(kernels[0], misshaped, axis=1):
        theirs = misshaped[kernels[0].name][1]
        yield (
            f"The file's network takes images of {theirs} channels, the model of {kernels[0].shape[1]}: build it with "
            f"input_shape=(None, None, {theirs})."
        )


def _auxiliary(missing, surplus):
    for part in _AUXILIARY:
        if any(name.startswith(f"{part}.") for name in surplus):
            yield (
                f'The file has the auxiliary head {part}.* and the model has not: leave it out with skip=["{part}"], '
                "or build the model with one where it takes such an argument."
            )
        if any(name.startswith(f"{part}.") for name in missing):
            yield (
                f"The model has an auxiliary head and the file has no {part}.*: keep the model's as it is with "
                f'skip=["{part}"], or build the model without.'
            )


def _other_head(slots, surplus):
    """Parts that the published networks do not have at all, such as the classifier that a backbone was trained with."""
    ours = {slot.name.partition(".")[0] for slot in slots}
    parts = list(dict.fromkeys(name.partition(".")[0] for name in sorted(surplus)))
    strange = [part for part in parts if part not in (*ours, *_AUXILIARY)]
    if strange and strange == parts:
        yield f"The model has nothing under {listed(strange, 4)}: leave such tensors out with skip={strange}."


def _backbone(model, slots, missing, surplus):
    """A backbone of another depth or kind: whole layers of it missing or surplus."""
    prefix = next((prefix for prefix in ("backbone.", "encoder.") if slots[0].name.startswith(prefix)), "")
    heads = (
        *("classifier.", "aux_classifier.", "decoder.", "segmentation_head.", "classification_head."),
        *torchvision_detection.PARTS,
    )
    strangers = [name for name in (*missing, *surplus) if name.startswith(prefix) and not name.startswith(heads)]
    if strangers:
        layers = list(dict.fromkeys(".".join(name.split(".")[:2]) for name in sorted(strangers)))
        yield f"The backbones differ, in {listed(layers, 4)}: is the file's of another depth or architecture?"


def _differs_only_in(slot, misshaped, axis):
    shape = misshaped.get(slot.name)
    if shape is None or len(shape) != len(slot.shape):
        return False
    return all(
        index == axis or ours == theirs for index, (ours, theirs) in enumerate(zip(slot.shape, shape, strict=True))
    )
