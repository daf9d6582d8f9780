"""FCN and DeepLabV3 in torchvision's form: counts, sizes, heads, configuration."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg
from kseg.backbones import MobileNetV3, ResNet
from tests.helpers.layer_checks import check_gradients, check_saved, count, without_ids


def tiny(model, num_classes=3, **options):
    """A network with a narrow backbone."""
    narrow = {"filters": 8, "rates": (2, 3)} if model is kseg.DeepLabV3 else {}
    backbone = ResNet(18, options.pop("input_shape", (None, None, 3)), output_stride=8, filters=4)
    return model(num_classes, backbone, **{**narrow, **options})


def plain(config):
    """A configuration as JSON gives it back."""
    return json.loads(json.dumps(without_ids(config)))


def images(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype("uint8")


@pytest.mark.parametrize(
    ("model", "depth", "auxiliary", "expected"),
    [
        (kseg.FCN, 50, True, 35_322_218),
        (kseg.FCN, 50, False, 32_957_013),
        (kseg.FCN, 101, True, 54_314_346),
        (kseg.DeepLabV3, 50, True, 42_004_074),
        (kseg.DeepLabV3, 50, False, 39_638_869),
        (kseg.DeepLabV3, 101, True, 60_996_202),
    ],
)
def test_parameters(model, depth, auxiliary, expected):
    """As torchvision's `fcn_resnet*` and `deeplabv3_resnet*` for 21 classes."""
    backbone = None if depth == 50 else ResNet(depth, output_stride=8)
    assert count(model(21, backbone, auxiliary=auxiliary).trainable_weights) == expected


def test_parameters_on_a_mobile_net():
    """As torchvision's `deeplabv3_mobilenet_v3_large`, whose second head is on the first features of stride 8."""
    backbone = MobileNetV3(output_stride=16, levels="first")
    model = kseg.DeepLabV3(21, backbone, auxiliary=True, auxiliary_level="P3")
    assert count(model.trainable_weights) == 11_029_328


@pytest.mark.parametrize("model", [kseg.FCN, kseg.DeepLabV3])
@pytest.mark.parametrize("auxiliary", [False, True])
def test_model(model, auxiliary, tmp_path):
    """Any size; saved with its backbone; every weight of the network gets a gradient."""
    network = tiny(model, auxiliary=auxiliary, class_names=["a", "b", "c"], input_shape=(None, None, 4))
    x = images(2, 33, 50, 4)
    logits = network(x)
    assert logits.shape == (2, 33, 50, 3)
    assert logits.dtype == tf.float32
    assert network.small_logits(x).shape == (2, 5, 7, 3)
    config = network.get_config()
    again = model.from_config(json.loads(json.dumps(config)))
    assert plain(again.get_config()) == plain(config)
    assert again.class_names == ("a", "b", "c")
    loaded = check_saved(network, x, tmp_path / "model.keras")
    assert count(loaded.trainable_weights) == count(network.trainable_weights)
    assert network.backbone.strides["P5"] == 8
    if not auxiliary:
        check_gradients(network, x)


@pytest.mark.parametrize("model", [kseg.FCN, kseg.DeepLabV3])
def test_training(model):
    """The whole network learns, the second head too, and evaluation and prediction run."""
    keras.utils.set_random_seed(0)
    network = tiny(model, 2, auxiliary=True)
    x, y = images(4, 33, 33, 3), np.random.default_rng(1).integers(0, 2, (4, 33, 33))
    before = {weight.path: np.asarray(weight) for weight in network.trainable_weights}
    history = network.fit(x, y, batch_size=2, verbose=0).history
    assert np.isfinite([history["loss"], history["auxiliary_loss"]]).all()
    for weight in network.trainable_weights:
        assert np.any(np.asarray(weight) != before[weight.path]), weight.path
    assert np.isfinite(network.evaluate(x, y, verbose=0)).all()
    assert kseg.predict(network, x[0]).shape == (33, 33)


def test_the_default_backbone_is_not_saved():
    model = kseg.FCN(2, input_shape=(64, 64, 1))
    config = model.get_config()
    assert config["backbone"] is None
    assert model.input_shape == (None, 64, 64, 1)
    assert model.output_shape == (None, 64, 64, 2)


def test_statistics_of_the_backbone():
    """Pixels go through ImageNet's statistics; those of other sensors to -1..1."""
    assert tiny(kseg.FCN).get_layer("normalize").mean == (0.485, 0.456, 0.406)
    assert tiny(kseg.FCN, input_shape=(None, None, 4)).get_layer("normalize").mean is None
    assert "normalize" not in [layer.name for layer in tiny(kseg.FCN, input_range=None).layers]


@pytest.mark.parametrize("model", [kseg.FCN, kseg.DeepLabV3])
def test_mixed_precision_and_frozen_norms(model):
    network = model(
        2, ResNet(18, filters=2, dtype="mixed_bfloat16"), auxiliary=True, dtype="mixed_bfloat16", frozen_batch_norm=True
    )
    assert network(images(1, 40, 33, 3)).dtype == tf.float32
    assert all("gamma" not in weight.path for weight in network.trainable_weights)
    x, y = images(2, 33, 33, 3), np.zeros((2, 33, 33), "uint8")
    assert np.isfinite(network.fit(x, y, verbose=0).history["loss"]).all()


@pytest.mark.parametrize("model", [kseg.FCN, kseg.DeepLabV3])
def test_errors(model):
    with pytest.raises(ValueError, match=r"dropout must be a rate in \[0, 1\); got 1"):
        tiny(model, dropout=1)
    with pytest.raises(ValueError, match="num_classes must be a positive int; got 0"):
        tiny(model, num_classes=0)
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'auxilary'; did you mean auxiliary"):
        tiny(model, auxilary=True)
    with pytest.raises(TypeError, match="unexpected keyword argument 'qqqq'; it takes num_classes, backbone"):
        tiny(model, qqqq=1)
    with pytest.raises(TypeError, match=r"backbone must be a kseg\.backbones\.Backbone; got str"):
        model(2, "resnet")


def test_deeplabv3_upsamples_as_it_is_told():
    backbone = kseg.backbones.ResNet(18, filters=4)
    model = kseg.DeepLabV3(2, backbone, filters=8, upsampling="align_corners")
    assert model.upsampling == "align_corners"
    assert model.get_config()["upsampling"] == "align_corners"
    with pytest.raises(ValueError, match=r'upsampling must be "bilinear" or "align_corners"; got None'):
        kseg.DeepLabV3(2, backbone, upsampling=None)
