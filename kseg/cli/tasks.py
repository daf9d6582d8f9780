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
    """

    models: tuple[str, ...]
    settings: tuple[str, ...]


TASKS = {
    "semantic": Task(
        ("unet", *(name for name in MODELS if name != "unet")),
        (
            *("num_classes", "ignore_index", "mask_suffix", "mask_values"),
            *("crop_size", "crop_around", "crop_share", "loss", "class_weights"),
            *UNET_SETTINGS,
        ),
    ),
    "instance": Task(tuple(DETECTORS), ("min_side", "max_side", "max_instances", "pyramid_filters", "anchor_size")),
}
