"""DeepLabV3+ in both forms."""

from __future__ import annotations

import keras
import pytest

import kseg
from kseg.backbones import ResNet
from tests.helpers.layer_checks import count
from tests.helpers.model_checks import check_model
from tests.helpers.tiny_backbone import TinyBackbone

RESNET_50, RESNET_101 = 23_508_032, 42_500_160  # without classifier


def tiny(*, input_shape=(None, None, 3), output_stride=16, **options):
    backbone = TinyBackbone(input_shape, output_stride=output_stride)
    return kseg.DeepLabV3Plus(3, backbone, **{"filters": 5, "dropout": 0.1, **options})


@pytest.mark.parametrize(
    ("num_classes", "separable", "with_50", "with_101"),
    [(1, True, 26_677_585, 45_669_713), (21, False, 40_352_181, 59_344_309)],
)
def test_parameters_of_the_published_network(num_classes, separable, with_50, with_101):
    model = kseg.DeepLabV3Plus(num_classes, separable=separable)
    assert count(model.trainable_weights) == with_50
    assert count(model.backbone.trainable_weights) == RESNET_50
    assert with_50 - RESNET_50 == with_101 - RESNET_101  # whose features have as many channels


def test_parameters_by_hand():
    backbone = count(TinyBackbone().trainable_weights)
    separable = 12 * 5 + 3 * (9 * 12 + 12 * 5) + 12 * 5 + 25 * 5 + 6 * 10  # the ASPP
    separable += 9 * 5 + 5 * 5 + 10  # after it
    separable += 6 * 48 + 96 + 9 * 53 + 53 * 5 + 10 + 5 * 3 + 3
    assert count(tiny().trainable_weights) - backbone == separable
    full = 12 * 5 + 3 * 9 * 12 * 5 + 12 * 5 + 25 * 5 + 6 * 10
    full += 6 * 48 + 96 + 9 * 53 * 5 + 10 + 9 * 5 * 5 + 10 + 5 * 3 + 3
    assert count(tiny(separable=False).trainable_weights) - backbone == full


@pytest.mark.parametrize("separable", [True, False])
def test_everything(separable, tmp_path):
    keras.utils.set_random_seed(0)  # small networks have activations that are 0 everywhere under some draws
    check_model(
        lambda **kw: tiny(separable=separable, **kw), tmp_path / "model.keras", sizes=((33, 29), (1, 5)), channels=(1,)
    )


@pytest.mark.parametrize(
    ("options", "rates"),
    [
        ({}, (12, 24, 36)),
        ({"output_stride": 8}, (12, 24, 36)),
        ({"separable": False}, (6, 12, 18)),
        ({"separable": False, "output_stride": 8}, (12, 24, 36)),
        ({"rates": (2, 3)}, (2, 3)),
    ],
    ids=str,
)
def test_rates(options, rates):
    assert tiny(**options).get_layer("decoder_aspp_0").rates == rates


def test_default_backbone():
    model = kseg.DeepLabV3Plus(2, input_shape=(None, None, 4), output_stride=8)
    assert model.backbone.strides["P5"] == 8
    assert model.input_shape == (None, None, None, 4)
    assert (model.backbone.get_config()["depth"], model.get_config()["backbone"]) == (50, None)
    # The stages are dilated as the weights of each form expect it.
    assert model.backbone.get_config()["dilate_first_block"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tiny(dropout=1), r"dropout must be a rate in \[0, 1\); got 1"),
        (lambda: tiny(rates=6), "rates must be a list of dilation rates"),
        (lambda: tiny(filters=0), "filters must be a positive int; got 0"),
        (lambda: kseg.DeepLabV3Plus(2, output_stride=32), "output_stride must be 8 or 16; got 32"),
        (
            lambda: kseg.DeepLabV3Plus(2, ResNet(18, filters=2), output_stride=8),
            "output_stride belongs to the default backbone, and backbone is given, .*: leave it out; got 8",
        ),
        (
            lambda: kseg.DeepLabV3Plus(2, TinyBackbone(levels=(1, 3))),
            "must have the levels P2, P5 for DeepLabV3Plus; P2, P5 are missing, it has P1, P3",
        ),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
