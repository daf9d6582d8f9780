"""The published networks, by kind. Runs where PyTorch is and TensorFlow is not."""

from __future__ import annotations

import dataclasses

import segmentation_models_pytorch
import torch
import torchvision
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.segmentation import deeplabv3, fcn

RESNET_LEVELS = {"relu": "P1", "layer1": "P2", "layer2": "P3", "layer3": "P4", "layer4": "P5"}


@dataclasses.dataclass
class Peer:
    """A published network.

    Attributes:
        network: whose tensors are the checkpoint.
        answering: what is compared: the network, or a part of it that gives features by level.
        heads: the convolutions whose sum the logits are, the first with a bias; none for features.
    """

    network: torch.nn.Module
    answering: torch.nn.Module
    heads: list[torch.nn.Module] = dataclasses.field(default_factory=list)


class _Tapped(torch.nn.Module):
    """The outputs of some of a network's modules, by level."""

    def __init__(self, network, levels):
        super().__init__()
        self.network = network
        self.levels = levels

    def forward(self, images):
        found = {}

        def keep(level):
            # Cloned, because a later module may work in place.
            return lambda module, inputs, output: found.update({level: output.clone()})

        hooks = [self.network.get_submodule(n).register_forward_hook(keep(level)) for n, level in self.levels.items()]
        self.network(images)
        for hook in hooks:
            hook.remove()
        return found


def resnet(depth: int, dilation: list[bool] | None = None) -> Peer:
    """A ResNet of torchvision."""
    options = {"replace_stride_with_dilation": dilation} if dilation else {}
    network = torchvision.models.get_model(f"resnet{depth}", weights=None, **options)
    return Peer(network, _Tapped(network, RESNET_LEVELS))


def vgg(depth: int, batch_norm: bool) -> Peer:
    """A VGG of torchvision, with a small classifier instead of its 120 million weights."""
    network = torchvision.models.get_model(f"vgg{depth}{'_bn' if batch_norm else ''}", weights=None)
    network.avgpool = torch.nn.AdaptiveAvgPool2d(1)
    network.classifier = torch.nn.Sequential(torch.nn.Linear(512, 5))
    pools = [number for number, layer in enumerate(network.features) if isinstance(layer, torch.nn.MaxPool2d)]
    levels = {f"features.{pool - 1}": f"P{level}" for level, pool in enumerate(pools)}
    return Peer(network, _Tapped(network, {**levels, f"features.{pools[-1]}": "P5"}))


def mobilenet() -> Peer:
    """MobileNetV3-Large of torchvision."""
    network = torchvision.models.mobilenet_v3_large(weights=None)
    # The last layers before the steps of stride 4, 8, 16 and 32, and the last of all.
    levels = {"features.1": "P1", "features.3": "P2", "features.6": "P3", "features.12": "P4", "features.16": "P5"}
    return Peer(network, _Tapped(network, levels))


class _Out(torch.nn.Module):
    """The logits among what torchvision's segmentation networks return."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(images)["out"]


def torchvision_segmentation(name: str, num_classes: int, auxiliary: bool | None = None) -> Peer:
    """A segmentation network of torchvision."""
    options = {} if auxiliary is None else {"aux_loss": auxiliary}
    builder = getattr(torchvision.models.segmentation, name)
    network = builder(weights=None, weights_backbone=None, num_classes=num_classes, **options)
    classifier = network.classifier
    if hasattr(classifier, "low_classifier"):
        return Peer(network, _Out(network), [classifier.low_classifier, classifier.high_classifier])
    return Peer(network, _Out(network), [classifier[-1]])


def on_resnet18(head: str, num_classes: int) -> Peer:
    """A segmentation network of torchvision on a ResNet-18 without dilation, which it has no builder for."""
    kind, classifier = {"fcn": (fcn.FCN, fcn.FCNHead), "deeplabv3": (deeplabv3.DeepLabV3, deeplabv3.DeepLabHead)}[head]
    backbone = IntermediateLayerGetter(torchvision.models.resnet18(weights=None), {"layer4": "out"})
    network = kind(backbone, classifier(512, num_classes))
    return Peer(network, _Out(network), [network.classifier[-1]])


def segmentation_models(name: str, encoder: str, num_classes: int, **options) -> Peer:
    """A network of segmentation-models-pytorch."""
    builder = getattr(segmentation_models_pytorch, name)
    network = builder(encoder, encoder_weights=None, classes=num_classes, **options)
    return Peer(network, network, [network.segmentation_head[0]])


class _Levels(torch.nn.Module):
    """The features of an encoder of segmentation-models-pytorch by level, the image left out."""

    def __init__(self, encoder, first):
        super().__init__()
        self.encoder = encoder
        self.first = first

    def forward(self, images):
        features = {f"P{level}": features for level, features in enumerate(self.encoder(images))}
        return {level: value for level, value in features.items() if int(level[1:]) >= self.first}


def encoder(name: str, output_stride: int, first: int) -> Peer:
    """An encoder of segmentation-models-pytorch, its names those that it has in a network.

    Args:
        name: of the encoder.
        output_stride: 8, 16 or 32.
        first: the first level that is made by layers.
    """
    made = segmentation_models_pytorch.encoders.get_encoder(name, weights=None, output_stride=output_stride)
    levels = _Levels(made, first)
    return Peer(levels, levels)


KINDS = {
    "encoder": encoder,
    "mobilenet": mobilenet,
    "on_resnet18": on_resnet18,
    "resnet": resnet,
    "segmentation_models": segmentation_models,
    "torchvision": torchvision_segmentation,
    "vgg": vgg,
}
