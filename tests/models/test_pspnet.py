"""The pyramid scene parsing network."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import kseg
from kseg.backbones import ResNet
from tests.helpers.layer_checks import count
from tests.helpers.model_checks import check_model, uint8_images
from tests.helpers.tiny_backbone import TinyBackbone


def tiny(*, input_shape=(None, None, 3), **options):
    return kseg.PSPNet(3, TinyBackbone(input_shape, output_stride=8), **{"filters": 7, **options})


def test_parameters_of_the_published_network():
    """As segmentation-models-pytorch counts them, whose encoder holds two stages that it does not use."""
    unused = 6_822_400 + 13_114_368
    assert count(kseg.PSPNet(1, ResNet(34), level="P3").trainable_weights) == 21_437_985 - unused


def test_parameters_by_hand():
    model = tiny()
    backbone = count(TinyBackbone().trainable_weights)
    grids = 4 * 12 * 3 + 3 + 3 * 6  # three channels each; a bias for one bin, normalisations for the rest
    decoder = grids + 24 * 7 + 14 + 9 * 7 * 3 + 3
    assert count(model.trainable_weights) - backbone == decoder
    with_head = tiny(auxiliary_weight=0.4)
    assert count(with_head.trainable_weights) - backbone == decoder + 9 * 10 * 2 + 4 + 2 * 3 + 3


@pytest.mark.parametrize("level", [None, "P3"])
def test_everything(level, tmp_path):
    keras.utils.set_random_seed(0)  # small networks have activations that are 0 everywhere under some draws
    sizes = ((47, 61), (1, 5))
    bins = (1, 3)
    check_model(lambda **kw: tiny(level=level, sizes=bins, **kw), tmp_path / "model.keras", sizes=sizes, channels=(1,))


def test_levels_below_are_left_out():
    model = kseg.PSPNet(3, TinyBackbone(), level="P3", filters=7, sizes=(1, 2))
    assert (model.stride, list(model.backbone.strides)) == (8, ["P1", "P2", "P3"])
    assert all("conv4" not in weight.path and "conv5" not in weight.path for weight in model.weights)
    assert kseg.PSPNet(3, TinyBackbone(), filters=7).stride == 32


def test_default_backbone():
    model = kseg.PSPNet(2, filters=8)
    assert (model.backbone.get_config()["depth"], model.backbone.strides["P5"], model.stride) == (50, 8, 8)


def test_auxiliary_head_trains_and_is_saved(tmp_path):
    model = tiny(auxiliary_weight=0.4)
    images = uint8_images(2, 48, 40, 3)
    labels = np.random.default_rng(0).integers(0, 3, images.shape[:3])
    before = np.array(model.get_layer("auxiliary_0").kernel)
    assert "auxiliary_loss" in model.fit(images, labels, verbose=0).history
    assert not np.array_equal(before, model.get_layer("auxiliary_0").kernel)
    model.save(tmp_path / "model.keras")
    loaded = kseg.PSPNet.from_config(model.get_config())
    loaded.load_weights(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.get_layer("auxiliary_0").kernel, model.get_layer("auxiliary_0").kernel)
    np.testing.assert_array_equal(loaded(images), model(images))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "P6"}, "must have the levels P6 for PSPNet; P6 is missing, it has P1, P2, P3, P4, P5"),
        ({"level": "P3", "auxiliary_weight": 0.4}, "P4 for the auxiliary head of PSPNet; P4 is missing"),
        ({"auxiliary_weight": -1}, "auxiliary_weight must be a number of at least 0; got -1"),
        ({"dropout": 1.5}, r"dropout must be a rate in \[0, 1\); got 1.5"),
        ({"sizes": 6}, "sizes must be a list of positive ints"),
        ({"filters": -3}, "filters must be a positive int; got -3"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        tiny(**options)
