"""The models and backbones that a run can name, and how each is built."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import keras

from kseg import models
from kseg.backbones import VGG, MobileNetV3, ResNet

# Settings that say how a network is built: their names here are those of the constructors, too.
_UNET = ("filters", "depth", "norm", "dropout", "upsampling")
BUILDING = _UNET


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A model.

    Attributes:
        title: For reports.
        build: The model's class.
        settings: Which of the settings in `BUILDING` it takes when no backbone is named.
        on_backbone: Which of them it takes on a backbone; `None` if it cannot stand on one.
        output_stride: Of a backbone that is named for it. Where none is, the model brings its published one.
    """

    title: str
    build: Callable[..., keras.Model]
    settings: tuple[str, ...] = ()
    on_backbone: tuple[str, ...] | None = ()
    output_stride: int = 32


MODELS = {
    "attention-unet": Architecture("Attention U-Net", models.AttentionUNet, _UNET, ("norm",)),
    "deeplabv3": Architecture("DeepLabV3", models.DeepLabV3, output_stride=8),
    "deeplabv3plus": Architecture("DeepLabV3+", models.DeepLabV3Plus, output_stride=16),
    "fcn": Architecture("FCN", models.FCN, output_stride=8),
    "fpn": Architecture("FPN", models.FPN),
    "lraspp": Architecture("LR-ASPP", models.LRASPP, output_stride=16),
    "pspnet": Architecture("PSPNet", models.PSPNet, output_stride=8),
    "segnet": Architecture("SegNet", models.SegNet, ("filters",), None),
    "unet": Architecture("U-Net", models.UNet, _UNET, ("norm",)),
    "unetplusplus": Architecture("U-Net++", models.UNetPlusPlus, ("norm",), ("norm",)),
}


def _resnet(depth):
    return lambda input_shape, output_stride: ResNet(depth, input_shape, output_stride=output_stride)


def _vgg(depth, batch_norm):
    # Its stride is 32 whatever is asked for: it has no dilated form.
    return lambda input_shape, output_stride: VGG(depth, batch_norm, input_shape)


BACKBONES = {
    **{f"resnet{depth}": _resnet(depth) for depth in (18, 34, 50, 101, 152)},
    **{f"vgg{depth}": _vgg(depth, False) for depth in (11, 13, 16, 19)},
    **{f"vgg{depth}_bn": _vgg(depth, True) for depth in (11, 13, 16, 19)},
    "mobilenet_v3_large": functools.partial(MobileNetV3, levels="first"),
}


def usable_settings(model: str, backbone: str | None) -> tuple[str, ...] | None:
    """Which of the settings in `BUILDING` a model takes.

    Args:
        model: Key of `MODELS`.
        backbone: Key of `BACKBONES`, or `None`.

    Returns:
        Their names; `None` if the model stands on no backbone and one is named.
    """
    return MODELS[model].settings if backbone is None else MODELS[model].on_backbone


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
        options["backbone"] = BACKBONES[config.backbone](input_shape, architecture.output_stride)
    return architecture.build(
        source.num_classes,
        input_range=source.input_range,
        ignore_index=source.ignore_index,
        class_names=source.class_names,
        **options,
    )
