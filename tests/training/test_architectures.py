"""The models, backbones and losses that a run can name."""

from __future__ import annotations

import types

import keras
import numpy as np
import pytest

from kseg import losses, models
from kseg.backbones import MobileNetV3
from kseg.training.architectures import BACKBONES, MODELS, build_backbone, build_network
from kseg.training.loss_sums import LOSSES, make_loss, parse_loss
from kseg.training.run_config import ConfigError, RunConfig

SOURCE = types.SimpleNamespace(
    num_classes=3, channels=1, input_range=(0, 65535), ignore_index=7, class_names=("a", "b", "c")
)


# ResNet-50 takes seconds to build; the models that have it as their own are built on a smaller one here.
SMALL = {
    "unet": {"filters": 4, "depth": 2},
    "attention-unet": {"filters": 4, "depth": 2},
    "segnet": {"filters": 4},
    "lraspp": {},
}


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_built_for_the_data(name):
    model = build_network(RunConfig(model=name, **SMALL.get(name, {"backbone": "resnet18"})), SOURCE)
    assert type(model) is getattr(models, MODELS[name].kind)
    assert model.input_shape == (None, None, None, 1)
    assert model.output_shape[-1] == model.num_classes == 3
    assert (model.ignore_index, model.class_names) == (7, ("a", "b", "c"))
    assert model.get_config()["input_range"] == (0, 65535)
    if name not in SMALL:
        assert max(model.backbone.strides.values()) == MODELS[name].output_stride


def test_a_u_net_on_a_backbone():
    model = build_network(RunConfig(model="unet", backbone="mobilenet_v3_large", norm="none"), SOURCE)
    assert type(model.backbone) is MobileNetV3
    assert model.input_shape == (None, None, None, 1)
    assert model.get_config()["norm"] is None


@pytest.mark.parametrize(
    ("name", "parameters"), [("resnet18", 11_176_512), ("vgg11", 9_220_480), ("xception65", 37_867_312)]
)
def test_backbones_are_what_they_are_called(name, parameters):
    # torchvision's counts without the classifiers, and DeepLab's; VGG has no dilated form, and keeps its stride.
    backbone = build_backbone(name, (None, None, 3), 16)
    assert sum(int(np.prod(weight.shape)) for weight in backbone.trainable_weights) == parameters
    assert max(backbone.strides.values()) == (32 if BACKBONES[name].kind == "VGG" else 16)


def test_settings_reach_the_network():
    options = {"filters": 4, "depth": 2, "norm": "none", "dropout": 0.25, "upsampling": "bilinear"}
    config = build_network(RunConfig(**options), SOURCE).get_config()
    assert {name: config[name] for name in options} == options | {"norm": None}
    assert build_network(RunConfig(model="segnet", filters=4), SOURCE).get_config()["filters"] == 4


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"model": "fcn", "depth": 3}, "depth: fcn has no such setting, got 3; leave it out."),
        ({"model": "segnet", "norm": "group"}, "norm: segnet has no such setting, got group"),
        ({"backbone": "resnet18", "filters": 8}, "filters: unet on a backbone has no such setting, got 8"),
        ({"model": "segnet", "backbone": "vgg16"}, "backbone: segnet stands on none, only attention-unet, deeplabv3"),
        ({"model": "vnet"}, "model: expected one of attention-unet, deeplabv3"),
        ({"backbone": "resnet19"}, "backbone: expected one of resnet18, resnet34"),
        ({"loss": "ce+mse"}, "loss: expected one of ce, dice, focal"),
    ],
)
def test_settings_that_do_not_go_together(settings, text):
    with pytest.raises(ConfigError, match="^" + text.replace("+", r"\+")):
        RunConfig(**settings)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_by_its_name(name):
    loss = make_loss(name, 7)
    assert type(loss) is LOSSES[name]
    assert loss.ignore_index == 7


@pytest.mark.parametrize("name", LOSSES)
def test_class_weights_reach_every_loss(name):
    assert tuple(make_loss(name, 7, (1.0, 2.0, 0.5)).get_config()["class_weights"]) == (1.0, 2.0, 0.5)


def test_sums_of_losses():
    assert parse_loss("dice+0.01*boundary") == [(1.0, "dice"), (0.01, "boundary")]
    labels = np.array([[[0, 1, 2, 7]]])
    logits = keras.random.normal((1, 1, 4, 3), seed=1)
    value = make_loss("2*ce+0.5*dice", 7)(labels, logits)
    parts = losses.CrossEntropy(ignore_index=7)(labels, logits), losses.Dice(ignore_index=7)(labels, logits)
    assert float(value) == pytest.approx(2 * float(parts[0]) + 0.5 * float(parts[1]), rel=1e-6)
    # A factor alone counts, too.
    assert float(make_loss("3*ce", 7)(labels, logits)) == pytest.approx(3 * float(parts[0]), rel=1e-6)


@pytest.mark.parametrize(
    "text", ["", "ce+", "+ce", "mse", "ce dice", "*ce", "0*ce", "-1*ce", "inf*ce", "nan*ce", "a*ce"]
)
def test_texts_that_are_no_sum_of_losses(text):
    with pytest.raises(ValueError, match=r"expected one of ce, .*, or a sum such as ce\+dice or dice\+0.01\*boundary"):
        parse_loss(text)
