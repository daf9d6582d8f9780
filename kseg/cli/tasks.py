"""The tasks that `kseg train` can name: their models, and the settings that only they have.

Plain data: nothing here imports kseg. `kseg.training.tasks` does the work of each.
"""

from __future__ import annotations

import dataclasses

from .architectures import DETECTORS, MODELS, UNET_SETTINGS


@dataclasses.dataclass(frozen=True)
class Task:
    """A kind of answer that is learned.

    Attributes:
        models: names of its architectures, the one to begin with first.
        settings: names of settings that other tasks do not have.
        defaults: values of settings that are others here than in `RunConfig` where they are not given.
    """

    models: tuple[str, ...]
    settings: tuple[str, ...]
    defaults: dict[str, object] = dataclasses.field(default_factory=dict)


TASKS = {
    "semantic": Task(
        ("unet", *(name for name in MODELS if name != "unet")),
        (
            *("num_classes", "ignore_index", "mask_suffix", "mask_values"),
            *("crop_size", "crop_around", "crop_share", "loss", "class_weights"),
            *UNET_SETTINGS,
        ),
    ),
    "instance": Task(
        tuple(DETECTORS),
        ("on_bad", "min_side", "max_side", "max_instances", "pyramid_filters", "anchor_size"),
        # At 0.001 the first steps of a detector with random weights and 256 channels end at many times the loss.
        defaults={"lr": 3e-4},
    ),
}
