"""torchvision's names of the tensors of backbones, which segmentation-models-pytorch has, too."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

import keras

from kseg.backbones import Backbone
from kseg.layers import ConvNorm2D, DepthwiseConvNorm2D, InvertedResidual, ResidualBlock, SqueezeExcitation
from kseg.weights.slots import Slot, conv_norm, convolution, sequence


def features_prefix(backbone: Backbone) -> str:
    """What torchvision's classification networks put before the names of the layers that make features."""
    return "" if _has(backbone, ResidualBlock) else "features."


def backbone_slots(backbone: Backbone, prefix: str) -> Iterator[Slot]:
    """The slots of a ResNet, VGG or MobileNetV3, or of its first levels.

    Told by the layers, which a backbone that was cut to its first levels still has.

    Args:
        backbone: of kseg.
        prefix: what the names begin with.

    Raises:
        TypeError: it has no published names.
    """
    layers = [layer for layer in backbone.layers if layer.weights]
    if not all(isinstance(layer, (ConvNorm2D, ResidualBlock, InvertedResidual)) for layer in layers):
        raise TypeError(
            f"there are no published names for the backbone {backbone.name!r} of class {type(backbone).__name__}, only "
            "for ResNet, VGG and MobileNetV3; one that was made with kseg.backbones.from_keras has the weights of its "
            "own library"
        )
    if _has(backbone, ResidualBlock):
        walk = _resnet_layer
    else:
        walk = _mobilenet_layer if _has(backbone, InvertedResidual) else _vgg_layer
    for layer in layers:
        yield from walk(layer, prefix)


def _has(backbone, kind):
    return any(isinstance(layer, kind) for layer in backbone.layers)


def _number(layer):
    return int(layer.name.rpartition("_")[2])


def _resnet_layer(layer, prefix):
    if isinstance(layer, ConvNorm2D):
        return conv_norm(f"{prefix}conv1", f"{prefix}bn1", layer)
    return _residual_block(layer, f"{prefix}{layer.name.replace('_', '.')}")


def _residual_block(block, name):
    for number, layer in enumerate((block.conv1, block.conv2, block.conv3), start=1):
        if layer is not None:
            yield from conv_norm(f"{name}.conv{number}", f"{name}.bn{number}", layer)
    if block.downsample is not None:
        yield from sequence(f"{name}.downsample", block.downsample)


def _vgg_layer(layer, prefix):
    return conv_norm(f"{prefix}{_number(layer)}", f"{prefix}{_number(layer) + 1}", layer)


def _mobilenet_layer(layer, prefix):
    name = f"{prefix}{_number(layer)}"
    if isinstance(layer, ConvNorm2D):
        yield from sequence(name, layer)
        return
    for index, part in enumerate(layer.block):
        yield from _part_of_inverted_residual(part, f"{name}.block.{index}")


@functools.singledispatch
def _part_of_inverted_residual(layer, name):
    raise TypeError(f"no published name for {type(layer).__name__}")


@_part_of_inverted_residual.register(ConvNorm2D)
@_part_of_inverted_residual.register(DepthwiseConvNorm2D)
def _(layer, name):
    return sequence(name, layer)


@_part_of_inverted_residual.register
def _(layer: SqueezeExcitation, name):
    yield from convolution(f"{name}.fc1", layer.fc1)
    yield from convolution(f"{name}.fc2", layer.fc2)


def is_deeper(name: str, slots: list[Slot]) -> bool:
    """Whether a tensor belongs to a stage (ResNet) or a layer (VGG) of a backbone after the last one among the slots.

    segmentation-models-pytorch keeps whole encoders in networks that stop at an early level.
    """
    numbers = [int(found[1]) for slot in slots if (found := _STAGE.match(slot.name))]
    found = _STAGE.match(name)
    return bool(found and numbers) and int(found[1]) > max(numbers)


_STAGE = re.compile(r"encoder\.(?:layer|features\.)(\d+)\.")


def backbone_of(model: keras.Model) -> Backbone:
    """The backbone that a model is built on.

    Raises:
        TypeError: it has none.
    """
    for layer in model.layers:
        if isinstance(layer, Backbone):
            return layer
    raise TypeError(
        f"there are no published names for a {type(model).__name__} without a backbone: build it with one, "
        "if it takes one, such as kseg.backbones.ResNet(34)"
    )
