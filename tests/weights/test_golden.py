"""Published weights' names and numerics where PyTorch is missing: against logits that the networks gave once."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("safetensors", reason="the weights are .safetensors files")

from safetensors import safe_open
from safetensors.numpy import save_file

import kseg
from tests.helpers.parity import MOST_TIMES_PEER_ERROR, both_forms
from tests.helpers.seeded_weights import seeded_images, seeded_state

GOLDEN = Path(__file__).with_name("golden")
CLASSES = 4
ResNet18 = functools.partial(kseg.backbones.ResNet, 18)
ResNet18Dilated = functools.partial(ResNet18, dilate_first_block=True)

MODELS = {
    "fcn": lambda: kseg.FCN(CLASSES, backbone=ResNet18(), input_range=None),
    "deeplabv3": lambda: kseg.DeepLabV3(CLASSES, backbone=ResNet18(), input_range=None),
    "lraspp": lambda: kseg.LRASPP(CLASSES, input_range=None),
    "unet": lambda: kseg.UNet(CLASSES, backbone=ResNet18(), input_range=None),
    "unetplusplus": lambda: kseg.UNetPlusPlus(CLASSES, backbone=ResNet18(), input_range=None),
    "deeplabv3_align_corners": lambda: kseg.DeepLabV3(
        CLASSES, backbone=ResNet18Dilated(output_stride=8), upsampling="align_corners", input_range=None
    ),
    "deeplabv3plus": lambda: kseg.DeepLabV3Plus(CLASSES, backbone=ResNet18Dilated(output_stride=16), input_range=None),
    "fpn": lambda: kseg.FPN(CLASSES, backbone=ResNet18(), input_range=None),
    "pspnet": lambda: kseg.PSPNet(CLASSES, backbone=ResNet18(), level="P3", input_range=None),
    "vgg11_bn": lambda: kseg.backbones.VGG(11, batch_norm=True),
}


def golden(case):
    """The facts and the tensors of a file."""
    with safe_open(GOLDEN / f"{case}.safetensors", "numpy") as file:
        return json.loads(file.metadata()["facts"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@pytest.mark.without_onednn
@pytest.mark.parametrize("case", MODELS)
def test_golden(case, tmp_path):
    facts, tensors = golden(case)
    state = seeded_state(facts["shapes"])
    state.update({name.partition(" ")[2]: value for name, value in tensors.items() if name.startswith("tensor ")})
    save_file(state, tmp_path / "a.safetensors")
    model = MODELS[case]()
    report = kseg.weights.load(model, tmp_path / "a.safetensors")
    assert report.tensors + len(report.left_out) == len(state)

    for answer in both_forms(model, seeded_images(1, *facts["size"])):
        if answer is not None:
            logits = answer["P5"] if isinstance(answer, dict) else answer
            seen = logits[:, :: facts["step"], :: facts["step"]]
            assert seen.shape == tensors["logits"].shape
            assert np.abs(seen - tensors["logits"]).max() <= MOST_TIMES_PEER_ERROR * facts["peer_error"]


@pytest.mark.parametrize("case", [case for case in MODELS if case != "vgg11_bn"])
def test_golden_logits_say_something(case):
    facts, _ = golden(case)
    assert 1 <= facts["spread"] <= 10
    assert facts["classes"] >= 3


def test_golden_files_are_small():
    assert sum(path.stat().st_size for path in GOLDEN.iterdir()) < 400_000
