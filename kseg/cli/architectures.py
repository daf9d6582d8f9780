"""The models and backbones that the command line can name: `kseg train` and `kseg convert`.

Plain data: nothing here imports kseg before a model is built. `kseg.training.architectures` builds those of a run.
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
        output_stride: that of published models, where it is not the model's own.
        dilates: whether it has an output stride at all.
        model_options: what published models need on it, by their classes.
        published: whether there are weights that `kseg convert` reads.
    """

    kind: str
    options: dict = dataclasses.field(default_factory=dict)
    output_stride: int | None = None
    dilates: bool = True
    model_options: dict = dataclasses.field(default_factory=dict)
    published: bool = True


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


# Settings of a run that say how a network is built: their names here are those of the constructors, too.
UNET_SETTINGS = ("filters", "depth", "norm", "dropout", "upsampling")


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A model.

    Attributes:
        kind: its class in `kseg`.
        title: for reports.
        backbone: that of the published weights, where there are any.
        forms: by library that published weights; none where `kseg convert` has nothing to read.
        auxiliary: whether it can have an auxiliary head.
        settings: which of `UNET_SETTINGS` a run can give where it names no backbone.
        on_backbone: which of them where it does; None if the model stands on none.
        output_stride: of a backbone that a run names. Where it names none, the model brings its published one.
        masks: of a detector: whether it learns masks.
    """

    kind: str
    title: str
    backbone: str | None = None
    forms: dict[str, Form] = dataclasses.field(default_factory=dict)
    auxiliary: bool = False
    settings: tuple[str, ...] = ()
    on_backbone: tuple[str, ...] | None = ()
    output_stride: int = 32
    masks: bool = True


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
    # For objects of few kinds, from scratch: a quarter of the channels.
    "resnet18_quarter": Backbone("ResNet", {"depth": 18, "filters": 16}, published=False),
    # Its own momentum is for hundreds of thousands of steps.
    "xception65": Backbone("Xception", {"norm_momentum": 0.99}, published=False),
}

_ALIGNED = {"upsampling": "align_corners"}
MODELS = {
    "attention-unet": Architecture("AttentionUNet", "Attention U-Net", settings=UNET_SETTINGS, on_backbone=("norm",)),
    "deeplabv3": Architecture(
        "DeepLabV3",
        "DeepLabV3",
        "resnet50",
        {TORCHVISION: Form(8), SEGMENTATION_MODELS: Form(8, _ALIGNED, True)},
        auxiliary=True,
        output_stride=8,
    ),
    "deeplabv3plus": Architecture(
        "DeepLabV3Plus",
        "DeepLabV3+",
        "resnet50",
        {SEGMENTATION_MODELS: Form(16, dilate_first_block=True)},
        output_stride=16,
    ),
    "fcn": Architecture("FCN", "FCN", "resnet50", {TORCHVISION: Form(8)}, auxiliary=True, output_stride=8),
    "fpn": Architecture("FPN", "FPN", "resnet50", {SEGMENTATION_MODELS: Form()}),
    "lraspp": Architecture("LRASPP", "LR-ASPP", "mobilenet_v3_large", {TORCHVISION: Form(16)}, output_stride=16),
    "pspnet": Architecture(
        "PSPNet", "PSPNet", "resnet50", {SEGMENTATION_MODELS: Form(options={"level": "P3"})}, output_stride=8
    ),
    "segnet": Architecture("SegNet", "SegNet", settings=("filters",), on_backbone=None),
    "unet": Architecture(
        "UNet",
        "U-Net",
        "resnet34",
        {SEGMENTATION_MODELS: Form()},
        settings=UNET_SETTINGS,
        on_backbone=("norm",),
    ),
    "unetplusplus": Architecture(
        "UNetPlusPlus",
        "U-Net++",
        "resnet34",
        {SEGMENTATION_MODELS: Form()},
        settings=("norm",),
        on_backbone=("norm",),
    ),
}

# Models of the task "instance".
DETECTORS = {
    "mask-rcnn": Architecture("MaskRCNN", "Mask R-CNN", "resnet50"),
    "faster-rcnn": Architecture("FasterRCNN", "Faster R-CNN", "resnet50", masks=False),
}

# What `kseg convert` can name.
PUBLISHED_MODELS = tuple(name for name, one in MODELS.items() if one.forms)
PUBLISHED_BACKBONES = tuple(name for name, one in BACKBONES.items() if one.published)


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
