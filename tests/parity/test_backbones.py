"""Backbones with torchvision's weights against torchvision, level by level."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the published networks run in PyTorch")
torchvision = pytest.importorskip("torchvision", reason="the published networks are torchvision's")
save_file = pytest.importorskip("safetensors.numpy").save_file

from torchvision.models.feature_extraction import create_feature_extractor  # noqa: E402

import kseg  # noqa: E402
from tests.helpers.parity import features_row  # noqa: E402
from tests.helpers.seeded_weights import seeded_images  # noqa: E402
from tests.helpers.torch_peers import randomise, state_of, truth_and_error  # noqa: E402

RESNET_LEVELS = {"relu": "P1", "layer1": "P2", "layer2": "P3", "layer3": "P4", "layer4": "P5"}
slow = pytest.mark.slow


def check(pair, peer, nodes, backbone, path, size=(75, 61)):
    """Random weights into the peer, through a file into the backbone, and both against float64."""
    randomise(peer, seed=len(pair))
    save_file(state_of(peer), path)
    report = kseg.weights.load(backbone, path)
    assert report.source == "torchvision classification"
    heads = [name for name in state_of(peer) if name.startswith(("fc.", "classifier."))]
    assert list(report.left_out) == heads
    assert heads
    images = seeded_images(5, *size)
    row = features_row(pair, *truth_and_error(create_feature_extractor(peer, nodes), images), backbone, images)
    row.check()


@pytest.mark.parametrize(
    "depth", [18, 50, pytest.param(34, marks=slow), pytest.param(101, marks=slow), pytest.param(152, marks=slow)]
)
def test_resnet(depth, tmp_path):
    peer = torchvision.models.get_model(f"resnet{depth}", weights=None)
    check(f"resnet{depth}", peer, RESNET_LEVELS, kseg.backbones.ResNet(depth), tmp_path / "a.safetensors")


@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilated_resnet(output_stride, tmp_path):
    dilated = [False, output_stride == 8, True]
    peer = torchvision.models.resnet50(weights=None, replace_stride_with_dilation=dilated)
    backbone = kseg.backbones.ResNet(50, output_stride=output_stride)
    check(f"resnet50 output stride {output_stride}", peer, RESNET_LEVELS, backbone, tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("depth", "batch_norm"),
    [(11, True), (16, False), (16, True), pytest.param(19, False, marks=slow), pytest.param(19, True, marks=slow)],
)
def test_vgg(depth, batch_norm, tmp_path):
    name = f"vgg{depth}{'_bn' if batch_norm else ''}"
    peer = torchvision.models.get_model(name, weights=None)
    # Its classifier's 120 million weights are of no interest, and would have to be drawn.
    peer.avgpool, peer.classifier = torch.nn.AdaptiveAvgPool2d(1), torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(512, 5))
    pools = [number for number, layer in enumerate(peer.features) if isinstance(layer, torch.nn.MaxPool2d)]
    nodes = {f"features.{pool - 1}": f"P{level}" for level, pool in enumerate(pools)}
    nodes[f"features.{pools[-1]}"] = "P5"
    check(name, peer, nodes, kseg.backbones.VGG(depth, batch_norm=batch_norm), tmp_path / "a.safetensors")
