"""The settings of a run: what config.json holds."""

from __future__ import annotations

import dataclasses
import json
import os
import types
import typing
from collections.abc import Mapping
from pathlib import Path

from kseg_cli.tasks import TASKS

from .architectures import BACKBONES, DETECTORS, MODELS, UNET_SETTINGS, usable_settings
from .loss_sums import parse_loss

CHOICES = {
    "task": tuple(TASKS),
    "model": (*MODELS, *DETECTORS),
    "backbone": tuple(BACKBONES),
    "norm": ("batch", "group", "none"),
    "upsampling": ("transpose", "bilinear"),
    "schedule": ("constant", "cosine"),
    "crop_around": ("anywhere", "foreground", "classes"),
    "augment": ("none", "light", "full"),
    "on_bad": ("error", "skip"),
    "class_weights": ("none", "inverse-frequency", "median-frequency", "enet"),
    "mixed_precision": ("none", "bfloat16", "float16"),
}


# As `kseg.data` allows: a mistyped number would fill the memory with lists as long.
MAX_CLASSES = 65536
_COUNTS = (
    *("epochs", "batch_size", "filters", "depth", "cells_train", "cells_val", "cells_size"),
    *("max_instances", "pyramid_filters"),
)


class ConfigError(ValueError):
    """A setting cannot be, or contradicts the settings of the run that is resumed."""


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Everything that the result of a training run depends on, besides the images themselves.

    Attributes:
        task: What is learned: `semantic`, the class of each pixel, or `instance`, objects. Settings that only another
            task has must stay at their defaults.
        data: Data folder, as `kseg.data.open_folder` or, for objects, `kseg.data.open_coco` takes it; `None`: generated
            cells (`kseg.data.CellsSource`).
        val_count: Number of images to validate on; `None`: by `val_fraction`.
        val_fraction: Part of the images to validate on, where the folder has no validation part of its own.
        num_classes: Number of classes, at most 65536; `None`: inferred from the masks. 1 is the sigmoid case.
        ignore_index: Label of void pixels; `None` if there are none.
        mask_suffix: What mask names have after the image's name.
        mask_values: Classes of the masks' values as text, "0=0,255=1"; `None`: the values are the classes.
        on_bad: Objects only: `error` or `skip`, as `kseg.data.CocoSource` takes it.
        min_side: Objects only, with the next: images are resized so that their shorter side has as many pixels.
        max_side: The longer side has at most as many. `None` for both: images of one size keep it, others get 800 and
            1333.
        max_instances: Objects only: of an image that has more, those with the most pixels are learned.
        model: Architecture, a key of `architectures.MODELS` or, for objects, of `architectures.DETECTORS`.
        backbone: What it stands on, a key of `architectures.BACKBONES`; `None`: what it was published with, and for
            U-Nets without "++" their own contracting path.
        filters: Channels at the first level. This and the next four belong to U-Nets without a backbone (`filters` to
            SegNet as well, `norm` to U-Nets with one); elsewhere they have to stay at their defaults, which have no
            effect there.
        depth: Number of levels of the U-Net.
        norm: Normalisation: `batch`, `group` or `none`.
        dropout: Dropout rate, 0 to below 1.
        upsampling: `transpose` or `bilinear`.
        pyramid_filters: Channels of a detector's pyramid and of its heads, whose dense layers have four times as many.
        anchor_size: Side in pixels of the anchors of a detector's finest level, twice that on each further one: about
            the smallest objects. `None`: 32.
        epochs: Number of passes over the training images.
        batch_size: Images per step.
        lr: Learning rate of Adam at the start.
        schedule: `constant`, or `cosine`: falls to 1 % along half a cosine over the whole run.
        crop_size: Side in pixels of the random crops trained on; `None`: whole images.
        crop_around: What random crops lie around: `anywhere`: nothing; `foreground`: a pixel that is not class 0
            (`kseg.data.ForegroundCrop`); `classes`: a pixel of a class that is drawn first, all of those that the image
            has alike (`kseg.data.ClassBalancedCrop`). The last two need `crop_size`.
        crop_share: Part of the crops that lie around what `crop_around` says, above 0 to 1; the others lie anywhere.
        augment: `none`; `light`: mirrored left to right, brightness, contrast; `full`: for images without an up
            (microscopy, aerial): also turned, mirrored, scaled, bent, noise.
        loss: Key of `loss_sums.LOSSES`, or a sum of them with or without factors: `ce+dice`, `dice+0.01*boundary`.
        class_weights: `none`, or how the loss weighs classes by their pixels in the training masks: a method of
            `kseg.losses.class_weights_from_data`. A class that does not occur there weighs 1.
        seed: Of initial weights, split, order, augmentation and dropout.
        mixed_precision: `none`, `bfloat16` or `float16`.
        jit: Compile the training step with XLA.
        deterministic: Deterministic kernels, so that two runs agree bit for bit. Without effect with `jit`: Keras takes
            one or the other.
        cells_train, cells_val, cells_size: With generated cells: number of images, and their side in pixels.

    Raises:
        ConfigError: A value is out of its range; the message names the setting.
    """

    task: str = "semantic"
    data: str | None = None
    val_count: int | None = None
    val_fraction: float = 0.2
    num_classes: int | None = None
    ignore_index: int | None = 255
    mask_suffix: str = ""
    mask_values: str | None = None
    on_bad: str = "error"
    min_side: int | None = None
    max_side: int | None = None
    max_instances: int = 100
    model: str = "unet"
    backbone: str | None = None
    filters: int = 32
    depth: int = 4
    norm: str = "batch"
    dropout: float = 0.0
    upsampling: str = "transpose"
    pyramid_filters: int = 256
    anchor_size: int | None = None
    epochs: int = 50
    batch_size: int = 4
    lr: float = 1e-3
    schedule: str = "cosine"
    crop_size: int | None = None
    crop_around: str = "anywhere"
    crop_share: float = 0.5
    augment: str = "light"
    loss: str = "ce"
    class_weights: str = "none"
    seed: int = 0
    mixed_precision: str = "none"
    jit: bool = False
    deterministic: bool = True
    cells_train: int = 96
    cells_val: int = 24
    cells_size: int = 128

    def __post_init__(self):
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            _check_type(field.name, value, hints[field.name])
            if field.name in CHOICES and value is not None and value not in CHOICES[field.name]:
                raise ConfigError(f"{field.name}: expected one of {', '.join(CHOICES[field.name])}, got {value!r}.")
        for name in _COUNTS:
            _require(name, getattr(self, name) >= 1, "at least 1", getattr(self, name))
        for name in ("num_classes", "val_count", "crop_size", "min_side", "max_side", "anchor_size"):
            value = getattr(self, name)
            _require(name, value is None or value >= 1, "at least 1", value)
        _require("num_classes", (self.num_classes or 1) <= MAX_CLASSES, f"from 1 to {MAX_CLASSES}", self.num_classes)
        # A level more doubles the channels: beyond this a model has billions of parameters.
        _require("depth", self.depth <= 8, "from 1 to 8", self.depth)
        _require("lr", self.lr > 0, "above 0", self.lr)
        _require("dropout", 0 <= self.dropout < 1, "from 0 to below 1", self.dropout)
        _require("val_fraction", 0 < self.val_fraction < 1, "between 0 and 1", self.val_fraction)
        _require("crop_share", 0 < self.crop_share <= 1, "above 0 and at most 1", self.crop_share)
        if self.crop_around != "anywhere" and self.crop_size is None:
            raise ConfigError(f"crop_around: {self.crop_around} needs crop_size (say, 256), got none.")
        _require("seed", 0 <= self.seed < 2**31, "from 0 to 2147483647", self.seed)
        try:
            parse_loss(self.loss)
        except ValueError as error:
            raise ConfigError(f"loss: {error}.") from None
        self._check_task()
        if self.model in MODELS:
            self._check_building()

    def _check_task(self):
        """Refuses settings that only other tasks have."""
        task = TASKS[self.task]
        if self.model not in task.models:
            raise ConfigError(
                f"model: expected one of {', '.join(task.models)} for the task {self.task}, got {self.model}."
            )
        others = {name for other in TASKS.values() for name in other.settings} - set(task.settings)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in others and value != field.default:
                raise ConfigError(f"{field.name}: the task {self.task} has no such setting, got {value}; leave it out.")
        if (self.min_side is None) != (self.max_side is None):
            raise ConfigError(
                "min_side, max_side: expected both or neither, got "
                f"min_side {self.min_side} and max_side {self.max_side}."
            )
        _require("min_side", (self.min_side or 0) <= (self.max_side or 0), "of at most max_side", self.min_side)

    def _check_building(self):
        """Refuses settings that the model does not have."""
        usable = usable_settings(self.model, self.backbone)
        if usable is None:
            able = [name for name, one in MODELS.items() if one.on_backbone is not None]
            raise ConfigError(
                f"backbone: {self.model} stands on none, only {', '.join(able)} do, got {self.backbone}; leave it out."
            )
        network = self.model if self.backbone is None else f"{self.model} on a backbone"
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in UNET_SETTINGS and field.name not in usable and value != field.default:
                raise ConfigError(f"{field.name}: {network} has no such setting, got {value}; leave it out.")

    def save(self, path: str | Path, facts: Mapping[str, object] | None = None) -> None:
        """Writes `{"settings": ..., "facts": ...}` as JSON, beside and renamed."""
        path = Path(path)
        beside = path.with_name(f".{path.name}.tmp")
        text = json.dumps({"settings": dataclasses.asdict(self), "facts": dict(facts or {})}, indent=2)
        beside.write_text(text + "\n", encoding="utf-8")
        os.replace(beside, path)

    @classmethod
    def load(cls, path: str | Path) -> tuple[RunConfig, dict]:
        """Reads what `save` wrote.

        Returns:
            The settings, and the facts of the run (classes, channels, image counts and so on).

        Raises:
            ConfigError: The file is missing or is no such file.
        """
        path = Path(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(**content["settings"]), content.get("facts", {})
        except FileNotFoundError as error:
            raise ConfigError(f"{path.parent} is not a run folder: it has no {path.name}.") from error
        except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not the settings of a run: {error}.") from error

    def conflicts(self, given: Mapping[str, object]) -> list[str]:
        """Compares explicitly given settings with these.

        Args:
            given: Setting names and values.

        Returns:
            One phrase per setting that differs, naming it, its value in the run and the one given.
        """
        found = []
        for name, value in given.items():
            own = getattr(self, name)
            same = (
                os.path.realpath(own) == os.path.realpath(value) if name == "data" and own and value else own == value
            )
            if not same:
                found.append(f"--{name.replace('_', '-')} is {own} in this run, got {value}")
        return found


def _require(name, ok, expected, got):
    if not ok:
        raise ConfigError(f"{name}: expected a value {expected}, got {got}.")


def _check_type(name, value, hint):
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and type(None) in kinds:
        return
    kind = next(kind for kind in kinds if kind is not type(None))
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"{name}: expected {kind.__name__}, got {value!r}.")
