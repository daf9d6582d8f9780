"""Backbones with published weights against torchvision and segmentation-models-pytorch, level by level."""

from __future__ import annotations

import pytest

import kseg
from tests.helpers.parity import features_row

slow = pytest.mark.slow


def check(pair, answers, backbone, source):
    """Load the weights, compare, and count."""
    report = kseg.weights.load(backbone, answers.checkpoint)
    assert report.source == source
    assert all(name.startswith(("fc.", "classifier.")) for name in report.left_out)
    features_row(pair, answers, backbone).check()
    return report


@pytest.mark.parametrize(
    "depth", [18, 50, pytest.param(34, marks=slow), pytest.param(101, marks=slow), pytest.param(152, marks=slow)]
)
def test_resnet(ask, depth):
    backbone = kseg.backbones.ResNet(depth)
    report = check(f"resnet{depth}", ask("resnet", depth=depth), backbone, "torchvision classification")
    assert report.left_out == ("fc.bias", "fc.weight") or report.left_out == ("fc.weight", "fc.bias")


@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilated_resnet(ask, output_stride):
    answers = ask("resnet", depth=50, dilation=[False, output_stride == 8, True])
    backbone = kseg.backbones.ResNet(50, output_stride=output_stride)
    check(f"resnet50, output stride {output_stride}", answers, backbone, "torchvision classification")


@pytest.mark.parametrize(
    ("depth", "batch_norm"),
    [(11, True), (16, False), (16, True), pytest.param(19, False, marks=slow), pytest.param(19, True, marks=slow)],
)
def test_vgg(ask, depth, batch_norm):
    answers = ask("vgg", depth=depth, batch_norm=batch_norm)
    backbone = kseg.backbones.VGG(depth, batch_norm=batch_norm)
    check(f"vgg{depth}{'_bn' if batch_norm else ''}", answers, backbone, "torchvision classification")


@pytest.mark.parametrize(("depth", "output_stride"), [(18, 16), (18, 8), pytest.param(50, 16, marks=slow)])
def test_encoder_of_segmentation_models(ask, depth, output_stride):
    answers = ask("encoder", name=f"resnet{depth}", output_stride=output_stride, first=1)
    backbone = kseg.backbones.ResNet(depth, output_stride=output_stride, dilate_first_block=True)
    pair = f"segmentation-models resnet{depth}, output stride {output_stride}"
    check(pair, answers, backbone, "segmentation-models-pytorch")


@pytest.mark.parametrize("size", [(75, 61), pytest.param((161, 131), marks=slow)])
def test_mobilenet(ask, size):
    answers = ask("mobilenet", size=size)
    check("mobilenet_v3_large", answers, kseg.backbones.MobileNetV3(), "torchvision classification")
