"""The networks of runs, built as the command line's table of models and backbones says."""

from __future__ import annotations

import keras
from kseg_cli.architectures import BACKBONES, DETECTORS, MODELS, UNET_SETTINGS

from kseg import backbones, models
from kseg.models.backbone_graph import level_number


def usable_settings(model: str, backbone: str | None) -> tuple[str, ...] | None:
    """Which of `UNET_SETTINGS` a model takes.

    Args:
        model: Key of `MODELS`.
        backbone: Key of `BACKBONES`, or `None`.

    Returns:
        Their names; `None` if the model stands on no backbone and one is named.
    """
    return MODELS[model].settings if backbone is None else MODELS[model].on_backbone


def build_backbone(name: str, input_shape: tuple, output_stride: int) -> backbones.Backbone:
    """Builds a backbone with random weights.

    Args:
        name: Key of `BACKBONES`.
        input_shape: `(height, width, channels)`.
        output_stride: Of its deepest level; without effect on one that has no dilated form.
    """
    backbone = BACKBONES[name]
    options = {"output_stride": output_stride} if backbone.dilates else {}
    return getattr(backbones, backbone.kind)(input_shape=input_shape, **backbone.options, **options)


def build_network(config, source) -> keras.Model:
    """Builds the network of a run with random weights.

    Args:
        config: `RunConfig`.
        source: Gives classes, channels, input range and void label.
    """
    architecture = MODELS[config.model]
    options = {name: getattr(config, name) for name in usable_settings(config.model, config.backbone)}
    if "norm" in options:
        options["norm"] = None if config.norm == "none" else config.norm
    input_shape = (None, None, source.channels)
    if config.backbone is None:
        options["input_shape"] = input_shape
    else:
        options["backbone"] = build_backbone(config.backbone, input_shape, architecture.output_stride)
    return getattr(models, architecture.kind)(
        source.num_classes,
        input_range=source.input_range,
        ignore_index=source.ignore_index,
        class_names=source.class_names,
        **options,
    )


def build_detector(config, source) -> keras.Model:
    """Builds the detector of a run with random weights.

    Args:
        config: `RunConfig` of the task "instance".
        source: `kseg.data.InstanceSource`; gives classes, channels and input range.
    """
    architecture = DETECTORS[config.model]
    backbone = build_backbone(config.backbone or architecture.backbone, (None, None, source.channels), 32)
    options = {}
    if config.anchor_size is not None:
        levels = sum(2 <= level_number(level) <= 5 for level in backbone.strides) + 1
        options["anchor_sizes"] = tuple(config.anchor_size * 2**level for level in range(levels))
    return getattr(models, architecture.kind)(
        source.num_classes,
        backbone=backbone,
        pyramid_filters=config.pyramid_filters,
        # The published ratio of 1024 to 256.
        head_units=4 * config.pyramid_filters,
        input_range=source.input_range,
        class_names=source.class_names,
        seed=config.seed,
        **options,
    )


__all__ = [
    "BACKBONES",
    "DETECTORS",
    "MODELS",
    "UNET_SETTINGS",
    "build_backbone",
    "build_detector",
    "build_network",
    "usable_settings",
]
