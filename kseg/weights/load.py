"""Loading published weights."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path

import keras

from kseg.weights.errors import WeightsError, listed
from kseg.weights.fitting import fit
from kseg.weights.hints import hints_for
from kseg.weights.reading import read_state
from kseg.weights.sources import check_model, recognise, without_common_prefix


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What `kseg.weights.load` did.

    Attributes:
        path: the file.
        source: whose names its tensors have: `"torchvision"`, `"torchvision detection"`, `"torchvision classification"`
            or `"segmentation-models-pytorch"`.
        tensors: how many tensors were loaded.
        values: how many numbers they hold.
        left_out: names of the tensors in the file that were not loaded: those of `skip`, and where a backbone was
            loaded, those of the heads.
    """

    path: Path
    source: str
    tensors: int
    values: int
    left_out: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{self.tensors} tensors ({self.values:,} values) of {self.source} from {self.path}"
        return f"{text}; left out: {listed(self.left_out)}" if self.left_out else text


def load(model: keras.Model, path: str | os.PathLike, *, skip: Iterable[str] = ()) -> LoadReport:
    """Load published weights into a model or a backbone: all of them, or none and an error that lists what is wrong.

    Reads state dictionaries of torchvision and of segmentation-models-pytorch, and recognises from the names whose they
    are:

    - into a model, those of the same architecture: torchvision's `backbone.*`, `classifier.*`, `aux_classifier.*`, or
      segmentation-models-pytorch's `encoder.*`, `decoder.*`, `segmentation_head.*`; into `FasterRCNN` and `MaskRCNN`
      torchvision's detectors, `backbone.*`, `rpn.*`, `roi_heads.*`;
    - into a backbone (`model.get_layer("backbone")` is a model's), the backbone of either, or a torchvision
      classification network. Heads that the file has beside it are left out.

    The dictionary may lie under `"model"` or `"state_dict"` in the file, and all names may begin with `module.` or
    `_orig_mod.`, as wrappers leave them, or with another common part such as `model.` or `net.`. Tensors may be
    float16, bfloat16, float32 or float64; the model holds float32.
    Counters (`num_batches_tracked`) are ignored.

    Settings that no tensor shows have to be the published network's: the output stride of the backbone, and for
    segmentation-models-pytorch `ResNet(dilate_first_block=True)` where it is dilated, `UNet(center_block=True)` on VGG,
    `DeepLabV3(upsampling="align_corners")` and `PSPNet(level="P3")`. `kseg convert` sets them. torchvision's own
    weights of `fasterrcnn_resnet50_fpn` and `maskrcnn_resnet50_fpn` (COCO_V1) want `ResNet(50, norm_epsilon=0)`, and to
    be trained further `frozen_batch_norm=True`.

    Args:
        model: of kseg, with the published architecture's settings.
        path: a `.safetensors` file (needs the package safetensors) or a `.pth` or `.pt` file of `torch.save` (needs
            torch 2.6 or later, and is read without running code from it).
        skip: tensors, by their names in the file or the beginnings of those up to a dot, that are not loaded; the
            model keeps what it has in their place. `["classifier.4"]` loads all but the last layer of a head that has
            another number of classes, `["aux_classifier"]` all but the auxiliary head.

    Returns:
        A `LoadReport`.

    Raises:
        WeightsError: a file that cannot be read, or is not of a known source; tensors that are missing, surplus, of
            another shape or with values that are not finite. The model is as before.
        TypeError: an argument of another type; a model or a backbone that has no published names.
        ImportError: the package that reads the file is not installed.

    Example:
        >>> model = kseg.DeepLabV3(num_classes=21)
        >>> print(kseg.weights.load(model, "deeplabv3_resnet50_coco.safetensors", skip=["aux_classifier"]))
    """
    skip = _checked_skip(skip)
    path = _checked_path(path)
    check_model(model)
    state = without_common_prefix(read_state(path))
    source = recognise(state, path)
    state = {source.current_name(name): value for name, value in state.items()}
    slots = source.slots(model, path)
    if unknown := [part for part in skip if not _any_under(part, [*state, *(slot.name for slot in slots)])]:
        raise WeightsError(
            f"skip names {listed(map(repr, unknown))}, which neither {path} nor the model has; the file has "
            f"{listed(_parts(state))}"
        )
    left_out = [name for name in state if source.leaves_out(model, name, slots) or _skipped(name, skip)]
    slots = [slot for slot in slots if not _skipped(slot.name, skip)]
    if not slots:
        raise WeightsError(f"skip={list(skip)} leaves nothing of {path} to load")
    for name in left_out:
        del state[name]
    described = f'{type(model).__name__} "{model.name}"'
    values = fit(slots, state, file=str(path), model=described, hints=hints_for(model, slots))
    for slot, value in zip(slots, values, strict=True):
        slot.variable.assign(value)
    return LoadReport(path, source.title, len(slots), sum(value.size for value in values), tuple(left_out))


def source_of(path: str | os.PathLike) -> str:
    """Whose networks' names the tensors of a file have: the `source` of the `LoadReport` that `load` would return.

    Raises:
        WeightsError: a file that cannot be read, or is not of a known source.
        ImportError: the package that reads the file is not installed.
    """
    path = _checked_path(path)
    return recognise(without_common_prefix(read_state(path)), path).title


def _checked_path(path):
    if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str):
        raise TypeError(f"path must be the name of a .safetensors, .pth or .pt file, or a pathlib.Path; got {path!r}")
    if not os.fspath(path):
        raise ValueError("path must be the name of a .safetensors, .pth or .pt file; got ''")
    return Path(path)


def _checked_skip(skip):
    parts = list(skip) if isinstance(skip, Iterable) and not isinstance(skip, str) else [None]
    if not all(isinstance(part, str) for part in parts):
        raise TypeError(f'skip must be a list of names, such as ["aux_classifier"]; got {skip!r}')
    return tuple(part.rstrip(".") for part in parts)


def _skipped(name, skip):
    return any(_any_under(part, [name]) for part in skip)


def _any_under(part, names):
    return any(name == part or name.startswith(f"{part}.") for name in names)


def _parts(state):
    """The first components of the names."""
    return dict.fromkeys(f"{name.partition('.')[0]}.*" for name in state)
