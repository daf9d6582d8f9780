"""Models with the weights of segmentation-models-pytorch against its networks."""

from __future__ import annotations

import functools

import pytest

import kseg
from tests.helpers.parity import logits_row

CLASSES = 7
# The library refuses sizes that its encoder's stride does not divide, except in the U-Net.
PADDED = (96, 64)
ODD = (75, 61)
slow = pytest.mark.slow


def resnet(depth, **options):
    return functools.partial(kseg.backbones.ResNet, depth, **options)


def vgg(depth, **options):
    return functools.partial(kseg.backbones.VGG, depth, **options)


RESNETS = [("resnet18", resnet(18)), pytest.param("resnet34", resnet(34), marks=slow)]
BOTTLENECKS = pytest.param("resnet50", resnet(50), marks=slow)
VGGS = [
    ("vgg11_bn", vgg(11, batch_norm=True)),
    pytest.param("vgg16_bn", vgg(16, batch_norm=True), marks=slow),
    pytest.param("vgg19", vgg(19), marks=slow),
]


@pytest.fixture
def check(ask):
    """Load the peer's weights, compare, and count parameters."""

    def check(network, encoder, model, size=PADDED, **options):
        answers = ask("segmentation_models", name=network, encoder=encoder, num_classes=CLASSES, size=size, **options)
        report = kseg.weights.load(model, answers.checkpoint)
        assert report.source == "segmentation-models-pytorch"
        row = logits_row(f"{network} {encoder}, {size[0]} x {size[1]}", answers, model)
        row.check()
        return report, answers

    return check


def count(model):
    """Trainable parameters."""
    return sum(weight.shape.num_elements() for weight in model.trainable_weights)


@pytest.mark.parametrize("size", [ODD, PADDED])
@pytest.mark.parametrize(("encoder", "backbone"), [*RESNETS, BOTTLENECKS, *VGGS])
def test_unet(check, encoder, backbone, size):
    center = encoder.startswith("vgg")
    model = kseg.UNet(CLASSES, backbone=backbone(), center_block=center, input_range=None)
    report, answers = check("Unet", encoder, model, size)
    assert not report.left_out
    assert count(model) == answers.parameters


@pytest.mark.parametrize(("encoder", "backbone"), [*RESNETS, BOTTLENECKS, *VGGS])
def test_unetplusplus(check, encoder, backbone):
    model = kseg.UNetPlusPlus(CLASSES, backbone=backbone(), input_range=None)
    report, _ = check("UnetPlusPlus", encoder, model)
    # The library gives the network on VGG a center block, and does not run it.
    assert bool(report.left_out) == encoder.startswith("vgg")
    assert all(name.startswith("decoder.center.") for name in report.left_out)


@pytest.mark.parametrize(("encoder", "backbone"), [*RESNETS, BOTTLENECKS, *VGGS])
def test_fpn(check, encoder, backbone):
    model = kseg.FPN(CLASSES, backbone=backbone(), input_range=None)
    report, answers = check("FPN", encoder, model)
    assert not report.left_out
    assert count(model) == answers.parameters


@pytest.mark.parametrize(("encoder", "backbone"), [*RESNETS, BOTTLENECKS, *VGGS])
def test_pspnet(check, encoder, backbone):
    model = kseg.PSPNet(CLASSES, backbone=backbone(), level="P3", input_range=None)
    report, _ = check("PSPNet", encoder, model)
    assert report.left_out
    assert all(name.startswith("encoder.") for name in report.left_out)


@pytest.mark.parametrize("output_stride", [16, 8])
@pytest.mark.parametrize(("depth"), [18, pytest.param(34, marks=slow), pytest.param(50, marks=slow)])
def test_deeplabv3plus(check, depth, output_stride):
    backbone = kseg.backbones.ResNet(depth, output_stride=output_stride, dilate_first_block=True)
    model = kseg.DeepLabV3Plus(CLASSES, backbone=backbone, input_range=None)
    report, answers = check("DeepLabV3Plus", f"resnet{depth}", model, (80, 48), encoder_output_stride=output_stride)
    assert not report.left_out
    assert count(model) == answers.parameters


@pytest.mark.parametrize("depth", [18, pytest.param(34, marks=slow), pytest.param(50, marks=slow)])
def test_deeplabv3(check, depth):
    backbone = kseg.backbones.ResNet(depth, output_stride=8, dilate_first_block=True)
    model = kseg.DeepLabV3(CLASSES, backbone=backbone, upsampling="align_corners", input_range=None)
    report, answers = check("DeepLabV3", f"resnet{depth}", model, (80, 48))
    assert not report.left_out
    assert count(model) == answers.parameters
