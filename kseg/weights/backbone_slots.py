"""torchvision's names of the tensors of backbones, which segmentation-models-pytorch has, too."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from kseg.backbones import Backbone, ResNet


class VGG:
    pass


from kseg.layers import ConvNorm2D, ResidualBlock
from kseg.weights.slots import Slot, conv_norm


@functools.singledispatch
def features_prefix(backbone: Backbone) -> str:
    """What torchvision's classification networks put before the names of the layers that make features."""
    return ""


@functools.singledispatch
def backbone_slots(backbone: Backbone, prefix: str) -> Iterator[Slot]:
    """The slots of a backbone.

    Args:
        backbone: of kseg.
        prefix: what the names begin with.

    Raises:
        TypeError: it has no published names.
    """
    raise TypeError(
        f"there are no published names for the backbone {backbone.name!r} of class {type(backbone).__name__}; one that "
        "was made with kseg.backbones.from_keras has its own library's weights"
    )


@features_prefix.register
def _(backbone: VGG) -> str:
    return "features."


@backbone_slots.register
def _(backbone: ResNet, prefix: str) -> Iterator[Slot]:
    yield from conv_norm(f"{prefix}conv1", f"{prefix}bn1", backbone.get_layer("conv1"))
    for layer in backbone.layers:
        if isinstance(layer, ResidualBlock):
            yield from _residual_block(f"{prefix}{layer.name.replace('_', '.')}.", layer)


def _residual_block(prefix, block):
    for number, layer in enumerate((block.conv1, block.conv2, block.conv3), start=1):
        if layer is not None:
            yield from conv_norm(f"{prefix}conv{number}", f"{prefix}bn{number}", layer)
    if block.downsample is not None:
        yield from conv_norm(f"{prefix}downsample.0", f"{prefix}downsample.1", block.downsample)


@backbone_slots.register
def _(backbone: VGG, prefix: str) -> Iterator[Slot]:
    for layer in backbone.layers:
        if isinstance(layer, ConvNorm2D):
            index = int(layer.name.rpartition("_")[2])
            yield from conv_norm(f"{prefix}{index}", f"{prefix}{index + 1}", layer)
