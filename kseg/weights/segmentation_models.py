"""segmentation-models-pytorch's names of the tensors of segmentation networks."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import keras

from kseg.layers import AtrousSeparableConv2D, ConvNorm2D, SkipUpBlock
from kseg.models import FPN, DeepLabV3, DeepLabV3Plus, PSPNet, UNet, UNetPlusPlus
from kseg.weights.backbone_slots import backbone_of, backbone_slots, features_prefix, is_deeper
from kseg.weights.slots import Slot, affine, classifier, conv_norm, convolution, pyramid, sequence

ENCODER = "encoder."


def encoder_prefix(backbone) -> str:
    """What the names of a backbone's tensors begin with."""
    return f"{ENCODER}{features_prefix(backbone)}"


def model_slots(model: keras.Model) -> Iterator[Slot]:
    """The slots of a model: backbone, decoder and head.

    Raises:
        TypeError: segmentation-models-pytorch has no such model.
    """
    decoder = _decoder_slots(model)
    backbone = backbone_of(model)
    yield from backbone_slots(backbone, encoder_prefix(backbone))
    yield from decoder
    yield from classifier("segmentation_head.0", _logits_layer(model))


def _logits_layer(model):
    # DeepLabV3 has the names that torchvision gives to the same layers.
    return model.get_layer("classifier_4" if isinstance(model, DeepLabV3) else "segmentation_head_0")


def unused(model: keras.Model, name: str, slots: list[Slot]) -> bool:
    """Whether a tensor has no part in the network, though its checkpoints have it."""
    if isinstance(model, UNetPlusPlus):
        return name.startswith("decoder.center.")
    return isinstance(model, PSPNet) and is_deeper(name, slots)


@functools.singledispatch
def _decoder_slots(model):
    raise TypeError(f"segmentation-models-pytorch has no network like {type(model).__name__}, so no weights for it")


@_decoder_slots.register
def _(model: UNet):
    yield from _center_convolutions(model)
    yield from _steps(model)


@_decoder_slots.register
def _(model: UNetPlusPlus):
    if any(_center_convolutions(model)):
        raise TypeError(
            "segmentation-models-pytorch's U-Net++ has a center block on VGG and never runs it: build the model with "
            "center_block=False"
        )
    return _steps(model)


def _center_convolutions(model):
    for layer in model.layers:
        if isinstance(layer, ConvNorm2D):  # decoder_center_0 and decoder_center_1
            yield from sequence(layer.name.replace("_", "."), layer)


def _steps(model):
    for layer in model.layers:
        if isinstance(layer, SkipUpBlock):  # decoder_blocks_0, or decoder_blocks_x_0_0
            block = f"decoder.blocks.{layer.name.removeprefix('decoder_blocks_')}"
            yield from sequence(f"{block}.conv1", layer.conv1)
            yield from sequence(f"{block}.conv2", layer.conv2)


@_decoder_slots.register
def _(model: DeepLabV3):
    yield from pyramid("decoder.aspp", model.get_layer("classifier_0"))
    yield from conv_norm("decoder.conv", "decoder.bn", model.get_layer("classifier_1"))


@_decoder_slots.register
def _(model: DeepLabV3Plus):
    if not isinstance(model.get_layer("decoder_block2"), AtrousSeparableConv2D):
        raise TypeError(
            "segmentation-models-pytorch has the separable form of DeepLabV3Plus only: build the model with "
            "separable=True"
        )
    return _deeplab_v3_plus_decoder(model)


def _deeplab_v3_plus_decoder(model):
    yield from pyramid("decoder.aspp.0", model.get_layer("decoder_aspp_0"))
    yield from conv_norm("decoder.aspp.1", "decoder.aspp.2", model.get_layer("decoder_aspp_1"))
    yield from sequence("decoder.block1", model.get_layer("decoder_block1"))
    yield from sequence("decoder.block2", model.get_layer("decoder_block2"))


@_decoder_slots.register
def _(model: FPN):
    yield from convolution("decoder.p5", model.get_layer("decoder_p5"))
    for level in ("p4", "p3", "p2"):
        yield from convolution(f"decoder.{level}.skip_conv", model.get_layer(f"decoder_{level}_skip_conv"))
    for index, steps in enumerate((3, 2, 1, 1)):  # as many as double the level to stride 4, or one
        for step in range(steps):
            name, ours = f"decoder.seg_blocks.{index}.block.{step}", f"decoder_seg_blocks_{index}_block_{step}"
            yield from convolution(f"{name}.block.0", model.get_layer(f"{ours}_block_0"))
            yield from affine(f"{name}.block.1", model.get_layer(f"{ours}_block_1"))


@_decoder_slots.register
def _(model: PSPNet):
    psp = model.get_layer("decoder_psp")
    for index, block in enumerate(psp.blocks):
        yield from sequence(f"decoder.psp.blocks.{index}.pool.1", block)
    yield from sequence("decoder.conv", psp.projection)
