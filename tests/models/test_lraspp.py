"""Lite R-ASPP's architecture."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import kseg
from kseg.backbones import VGG, Backbone, MobileNetV3
from tests.helpers.layer_checks import count
from tests.helpers.model_checks import check_model


def small(num_classes=3, input_shape=(None, None, 3), **options):
    if "backbone" not in options:
        with_dtype = {"dtype": options["dtype"]} if "dtype" in options else {}
        options["backbone"] = MobileNetV3(input_shape, output_stride=16, width=0.1, levels="first", **with_dtype)
    return kseg.LRASPP(num_classes, **{"filters": 8, **options})


def test_parameters_of_the_published_network():
    model = kseg.LRASPP(21)
    assert count(model.trainable_weights) == 3_221_538
    head = (960 * 128 + 256) + 960 * 128 + (40 * 21 + 21) + (128 * 21 + 21)
    assert head + 2_971_952 == 3_221_538


def test_model(tmp_path):
    check_model(small, tmp_path / "lraspp.keras", channels=(1,))


def test_default_backbone():
    backbone = kseg.LRASPP(2, input_shape=(None, None, 1), dtype="mixed_bfloat16").get_layer("backbone")
    assert backbone.strides["P5"] == 16
    assert backbone.input_shape == (None, None, None, 1)
    assert backbone.get_layer("features_4").compute_dtype == "bfloat16"


def test_any_backbone_with_the_levels():
    model = small(backbone=VGG(11, filters=2, pool_padding="same"))
    assert model(np.zeros((1, 40, 33, 3))).shape == (1, 40, 33, 3)


class TwiceAndThrice(Backbone):
    """Its features are the image times two and times three."""

    def __init__(self, name="backbone", **kwargs):
        image = keras.Input((None, None, 1))
        low, high = keras.layers.Rescaling(2.0)(image), keras.layers.Rescaling(3.0)(image)
        super().__init__(image, {"P3": low, "P5": high}, strides={"P3": 8, "P5": 32}, name=name, **kwargs)
        self.keep_arguments()


def test_head_by_hand():
    """One pixel: the features are 2 (low) and 3 (high); relu(2 * 3 + 1) * sigmoid(0.5 * 3) goes on."""
    model = kseg.LRASPP(1, backbone=TwiceAndThrice(), filters=1, input_range=None)
    narrow = model.get_layer("classifier_cbr_0")
    narrow.kernel.assign([[[[2.0]]]])
    narrow.batch_norm.set_weights([np.ones(1), np.ones(1), np.zeros(1), np.full(1, 1 - 1e-5)])
    model.get_layer("classifier_scale_1").kernel.assign([[[[0.5]]]])
    model.get_layer("classifier_low_classifier").set_weights([np.full((1, 1, 1, 1), 10.0), np.ones(1)])
    model.get_layer("classifier_high_classifier").set_weights([np.full((1, 1, 1, 1), 100.0), np.full(1, 2.0)])
    expected = 10 * 2 + 1 + 100 * 7 / (1 + np.exp(-1.5)) + 2
    np.testing.assert_allclose(model(np.ones((1, 1, 1, 1)))[0, 0, 0, 0], expected, rtol=1e-5)


def test_normalises_for_the_backbone():
    layer = small().get_layer("normalize")
    assert (layer.output_range, layer.mean) == ((0, 1), (0.485, 0.456, 0.406))
    assert small(input_shape=(None, None, 1)).get_layer("normalize").mean is None
    assert small(input_range=None).layers[1].name == "backbone"


def test_refuses():
    with pytest.raises(TypeError, match=r"backbone must be a kseg.backbones.Backbone; got str"):
        small(backbone="mobilenet")
    with pytest.raises(ValueError, match="num_classes must be a positive int; got 0"):
        small(0)
    with pytest.raises(ValueError, match="filters must be a positive int; got 0"):
        small(filters=0)
    image = keras.Input((None, None, 3))
    fine = keras.layers.Conv2D(2, 3, strides=2)(image)
    with pytest.raises(ValueError, match="backbone must have the levels P3, P5 for LRASPP; P3, P5 are missing"):
        small(backbone=Backbone(image, {"P1": fine}, strides={"P1": 2}))
