"""The published architectures that the command line can name, and how kseg builds each of them.

Plain data: nothing here imports kseg before a model is built.
"""

from __future__ import annotations

import dataclasses

from .errors import CliError

TORCHVISION = "torchvision"
SEGMENTATION_MODELS = "segmentation-models-pytorch"


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A backbone.

    Attributes:
        kind: its class in `kseg.backbones`.
        options: for the constructor.
        output_stride: where a model has it other than the model's own.
        dilates: whether it has an output stride at all.
        model_options: what models need on it, by their classes.
    """

    kind: str
    options: dict = dataclasses.field(default_factory=dict)
    output_stride: int | None = None
    dilates: bool = True
    model_options: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Form:
    """How a library builds an architecture.

    Attributes:
        output_stride: of the backbone.
        options: for the model's constructor.
        dilate_first_block: of a ResNet.
    """

    output_stride: int = 32
    options: dict = dataclasses.field(default_factory=dict)
    dilate_first_block: bool = False


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A model.

    Attributes:
        kind: its class in `kseg`.
        backbone: the usual one.
        forms: by library.
        auxiliary: whether it can have an auxiliary head.
    """

    kind: str
    backbone: str
    forms: dict[str, Form]
    auxiliary: bool = False


def _vgg(depth, batch_norm):
    options = {"depth": depth, "batch_norm": batch_norm}
    return Backbone("VGG", options, dilates=False, model_options={"UNet": {"center_block": True}})


BACKBONES = {
    **{f"resnet{depth}": Backbone("ResNet", {"depth": depth}) for depth in (18, 34, 50, 101, 152)},
    **{f"vgg{depth}": _vgg(depth, False) for depth in (11, 13, 16, 19)},
    **{f"vgg{depth}_bn": _vgg(depth, True) for depth in (11, 13, 16, 19)},
    "mobilenet_v3_large": Backbone(
        "MobileNetV3", {"levels": "first"}, 16, model_options={"DeepLabV3": {"auxiliary_level": "P3"}}
    ),
}

MODELS = {
    "deeplabv3": Architecture(
        "DeepLabV3",
        "resnet50",
        {TORCHVISION: Form(8), SEGMENTATION_MODELS: Form(8, {"upsampling": "align_corners"}, True)},
        auxiliary=True,
    ),
    "deeplabv3plus": Architecture(
        "DeepLabV3Plus", "resnet50", {SEGMENTATION_MODELS: Form(16, dilate_first_block=True)}
    ),
    "fcn": Architecture("FCN", "resnet50", {TORCHVISION: Form(8)}, auxiliary=True),
    "fpn": Architecture("FPN", "resnet50", {SEGMENTATION_MODELS: Form()}),
    "lraspp": Architecture("LRASPP", "mobilenet_v3_large", {TORCHVISION: Form(16)}),
    "pspnet": Architecture("PSPNet", "resnet50", {SEGMENTATION_MODELS: Form(options={"level": "P3"})}),
    "unet": Architecture("UNet", "resnet34", {SEGMENTATION_MODELS: Form()}),
    "unetplusplus": Architecture("UNetPlusPlus", "resnet34", {SEGMENTATION_MODELS: Form()}),
}


def check(arguments) -> None:
    """Checks that the arguments go together.

    Args:
        arguments: namespace with `model`, `backbone`, `output_stride` and `auxiliary`.

    Raises:
        CliError: they do not.
    """
    architecture = MODELS[arguments.model]
    backbone = arguments.backbone or architecture.backbone
    if arguments.auxiliary and not architecture.auxiliary:
        able = " and ".join(name for name, one in MODELS.items() if one.auxiliary)
        raise CliError(f"--auxiliary: expected with {able}, got --model {arguments.model}; leave it out.")
    if arguments.output_stride is not None and not BACKBONES[backbone].dilates:
        raise CliError(
            f"--output-stride: expected with a ResNet or MobileNet, got --backbone {backbone}, whose stride is fixed; "
            "leave it out."
        )


def build(arguments, library: str):
    """Builds a model with random weights.

    Args:
        arguments: namespace with `model`, `backbone`, `num_classes`, `output_stride`, `auxiliary`, `ignore_index`.
        library: whose form of the architecture.

    Raises:
        CliError: that library has no such network.
    """
    import kseg

    architecture = MODELS[arguments.model]
    form = architecture.forms.get(library)
    if form is None:
        raise CliError(
            f"IN: expected weights of {' or '.join(architecture.forms)} for --model {arguments.model}, got weights of "
            f"{library}."
        )
    backbone = BACKBONES[arguments.backbone or architecture.backbone]
    options = dict(backbone.options)
    if backbone.dilates:
        options["output_stride"] = arguments.output_stride or backbone.output_stride or form.output_stride
    if form.dilate_first_block and backbone.kind == "ResNet":
        options["dilate_first_block"] = True
    given = {**form.options, **backbone.model_options.get(architecture.kind, {})}
    if architecture.auxiliary:
        given["auxiliary"] = arguments.auxiliary
    return getattr(kseg, architecture.kind)(
        arguments.num_classes,
        backbone=getattr(kseg.backbones, backbone.kind)(**options),
        ignore_index=arguments.ignore_index,
        **given,
    )
