"""Models with torchvision's weights against its networks."""

from __future__ import annotations

import pytest

import kseg
from tests.helpers.parity import logits_row

CLASSES = 7
ODD = (75, 61)
slow = pytest.mark.slow


@pytest.fixture
def check(ask):
    """Load the peer's weights, compare, and count parameters."""

    def check(network, model, size=ODD, **options):
        answers = ask("torchvision", name=network, num_classes=CLASSES, size=size, **options)
        report = kseg.weights.load(model, answers.checkpoint)
        assert report.source == "torchvision"
        assert not report.left_out
        trainable = {id(weight): weight for layer in model.layers for weight in layer.trainable_weights}
        assert sum(weight.shape.num_elements() for weight in trainable.values()) == answers.parameters
        logits_row(f"{network}, {size[0]} x {size[1]}", answers, model).check()

    return check


def resnet(depth):
    return kseg.backbones.ResNet(depth, output_stride=8)


def mobilenet():
    return kseg.backbones.MobileNetV3(output_stride=16, levels="first")


@pytest.mark.parametrize(
    ("depth", "size"), [(50, ODD), pytest.param(101, ODD, marks=slow), pytest.param(50, (161, 131), marks=slow)]
)
@pytest.mark.parametrize("auxiliary", [True, pytest.param(False, marks=slow)])
def test_fcn(check, depth, size, auxiliary):
    model = kseg.FCN(CLASSES, backbone=resnet(depth), auxiliary=auxiliary, input_range=None)
    check(f"fcn_resnet{depth}", model, size, auxiliary=auxiliary)


@pytest.mark.parametrize(
    ("depth", "size"), [(50, ODD), pytest.param(101, ODD, marks=slow), pytest.param(50, (161, 131), marks=slow)]
)
@pytest.mark.parametrize("auxiliary", [True, pytest.param(False, marks=slow)])
def test_deeplabv3(check, depth, size, auxiliary):
    model = kseg.DeepLabV3(CLASSES, backbone=resnet(depth), auxiliary=auxiliary, input_range=None)
    check(f"deeplabv3_resnet{depth}", model, size, auxiliary=auxiliary)


@pytest.mark.parametrize("auxiliary", [True, pytest.param(False, marks=slow)])
def test_deeplabv3_on_mobilenet(check, auxiliary):
    options = {"auxiliary": auxiliary, "auxiliary_level": "P3", "input_range": None}
    model = kseg.DeepLabV3(CLASSES, backbone=mobilenet(), **options)
    check("deeplabv3_mobilenet_v3_large", model, auxiliary=auxiliary)


@pytest.mark.parametrize("size", [ODD, pytest.param((161, 131), marks=slow)])
def test_lraspp(check, size):
    check("lraspp_mobilenet_v3_large", kseg.LRASPP(CLASSES, input_range=None), size)
