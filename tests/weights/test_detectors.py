"""Loading torchvision's detectors: names of all ages, flattened features, another number of classes."""

from __future__ import annotations

import re

import numpy as np
import pytest

pytest.importorskip("safetensors", reason="the checkpoints are .safetensors files")

from safetensors.numpy import save_file

import kseg
from kseg.weights import torchvision_detection
from tests.helpers.seeded_weights import seeded_state


def detector(kind=kseg.MaskRCNN, num_classes=3, **options):
    backbone = kseg.backbones.ResNet(18, filters=4)
    return kind(num_classes, backbone, pyramid_filters=8, head_units=6, **options)


def state_for(model):
    return seeded_state({slot.name: slot.shape for slot in torchvision_detection.model_slots(model)})


def test_names_and_shapes():
    """Of a detector with 3 classes, those that torchvision writes."""
    shapes = {name: value.shape for name, value in state_for(detector()).items()}
    expected = {
        "backbone.body.layer4.1.conv2.weight": (32, 32, 3, 3),
        "backbone.fpn.inner_blocks.0.0.weight": (8, 4, 1, 1),
        "backbone.fpn.layer_blocks.3.0.bias": (8,),
        "rpn.head.conv.0.0.weight": (8, 8, 3, 3),
        "rpn.head.cls_logits.weight": (3, 8, 1, 1),
        "rpn.head.bbox_pred.bias": (12,),
        "roi_heads.box_head.fc6.weight": (6, 8 * 7 * 7),
        "roi_heads.box_head.fc7.weight": (6, 6),
        "roi_heads.box_predictor.cls_score.weight": (4, 6),
        "roi_heads.box_predictor.bbox_pred.weight": (16, 6),
        "roi_heads.mask_head.3.0.weight": (8, 8, 3, 3),
        "roi_heads.mask_predictor.conv5_mask.weight": (8, 8, 2, 2),
        "roi_heads.mask_predictor.mask_fcn_logits.bias": (4,),
    }
    assert expected.items() <= shapes.items()
    second = state_for(detector(form="v2"))
    assert {
        "backbone.fpn.inner_blocks.0.1.running_var",
        "rpn.head.conv.1.0.weight",
        "roi_heads.box_head.3.1.weight",
        "roi_heads.box_head.5.weight",
        "roi_heads.mask_head.0.1.running_mean",
    } <= set(second)


def test_flattened_features(tmp_path):
    """The published network flattens channel, row, column; kseg row, column, channel."""
    model = detector()
    state = state_for(model)
    weight = np.arange(6 * 8 * 49, dtype=np.float32).reshape(6, 8, 7, 7)
    state["roi_heads.box_head.fc6.weight"] = weight.reshape(6, -1)
    save_file(state, tmp_path / "a.safetensors")
    kseg.weights.load(model, tmp_path / "a.safetensors")
    kernel = model.box_head.dense[0].kernel.numpy()
    assert kernel[(2 * 7 + 5) * 8 + 3, 4] == weight[4, 3, 2, 5]


def test_old_names(tmp_path):
    """As in the files that torchvision publishes."""
    model, again = detector(), detector()
    state = state_for(model)
    old = {}
    for name, value in state.items():
        name = re.sub(r"(fpn\.\w+_blocks\.\d)\.0\.", r"\1.", name)
        name = name.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
        name = re.sub(r"mask_head\.(\d)\.0\.", lambda found: f"mask_head.mask_fcn{int(found[1]) + 1}.", name)
        old[name] = value
    assert sum(name not in state for name in old) == 16 + 2 + 8
    save_file(state, tmp_path / "new.safetensors")
    save_file(old, tmp_path / "old.safetensors")
    kseg.weights.load(model, tmp_path / "new.safetensors")
    report = kseg.weights.load(again, tmp_path / "old.safetensors")
    assert report.source == kseg.weights.source_of(tmp_path / "old.safetensors") == "torchvision detection"
    for ours, theirs in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_detector_without_masks_takes_no_masks(tmp_path):
    save_file(state_for(detector()), tmp_path / "a.safetensors")
    model = detector(kseg.FasterRCNN)
    with pytest.raises(kseg.weights.WeightsError, match=r"12 surplus in the file: roi_heads\.mask_head\.0\.0\.bias"):
        kseg.weights.load(model, tmp_path / "a.safetensors")
    skip = ["roi_heads.mask_head", "roi_heads.mask_predictor"]
    assert len(kseg.weights.load(model, tmp_path / "a.safetensors", skip=skip).left_out) == 12


def test_another_number_of_classes(tmp_path):
    save_file(state_for(detector(num_classes=90)), tmp_path / "a.safetensors")
    model = detector()
    with pytest.raises(kseg.weights.WeightsError) as caught:
        kseg.weights.load(model, tmp_path / "a.safetensors")
    text = str(caught.value)
    assert "num_classes=90, the background not counted, the model num_classes=3: build the model with 90, or" in text
    layers = [
        "roi_heads.box_predictor.cls_score",
        "roi_heads.box_predictor.bbox_pred",
        "roi_heads.mask_predictor.mask_fcn_logits",
    ]
    assert f"skip={layers}" in text
    assert len(kseg.weights.load(model, tmp_path / "a.safetensors", skip=layers).left_out) == 6


def test_a_backbone_takes_a_detectors(tmp_path):
    model = detector()
    state = state_for(model)
    save_file(state, tmp_path / "a.safetensors")
    backbone = kseg.backbones.ResNet(18, filters=4)
    report = kseg.weights.load(backbone, tmp_path / "a.safetensors")
    assert all(name.startswith(("backbone.fpn.", "rpn.", "roi_heads.")) for name in report.left_out)
    np.testing.assert_array_equal(backbone.get_layer("conv1").batch_norm.beta.numpy(), state["backbone.body.bn1.bias"])


def test_other_models_have_no_such_names(tmp_path):
    save_file({"rpn.x": np.zeros(1, np.float32)}, tmp_path / "a.safetensors")
    with pytest.raises(TypeError, match="torchvision has no detector like FCN, so no weights for it"):
        kseg.weights.load(kseg.FCN(3, kseg.backbones.ResNet(18, filters=4)), tmp_path / "a.safetensors")


def test_published_epsilon():
    """The weights that torchvision published for its first detectors were trained without one."""
    backbone = kseg.backbones.ResNet(18, filters=4, norm_epsilon=0)
    norms = [backbone.get_layer("conv1").batch_norm, backbone.get_layer("layer2_0").downsample.batch_norm]
    assert [norm.epsilon for norm in norms] == [0, 0]
    assert kseg.backbones.ResNet.from_config(backbone.get_config()).get_config()["norm_epsilon"] == 0
