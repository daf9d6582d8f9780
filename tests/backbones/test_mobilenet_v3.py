"""MobileNetV3 as a backbone."""

from __future__ import annotations

import numpy as np
import pytest

from kseg.backbones import MobileNetV3
from tests.helpers.backbone_checks import check_backbone
from tests.helpers.layer_checks import count


def small(**options):
    return MobileNetV3(**{"width": 0.1, **options})


def test_parameters():
    """torchvision's 5,483,032 less its classifier of 960 -> 1280 -> 1000; 24,400 more are moving statistics."""
    classifier = 960 * 1280 + 1280 + 1280 * 1000 + 1000
    backbone = MobileNetV3()
    assert count(backbone.trainable_weights) == 5_483_032 - classifier == 2_971_952
    assert count(MobileNetV3(output_stride=16, levels="first").trainable_weights) == 2_971_952
    assert count(backbone.non_trainable_weights) == 24_400


@pytest.mark.parametrize("options", [{}, {"output_stride": 16, "levels": "first"}, {"output_stride": 8}], ids=str)
def test_backbone(options, tmp_path):
    check_backbone(lambda **kw: small(**options, **kw), tmp_path / "mobilenet.keras")


@pytest.mark.parametrize(
    ("output_stride", "strides"), [(32, [2, 4, 8, 16, 32]), (16, [2, 4, 8, 16, 16]), (8, [2, 4, 8, 8, 8])]
)
def test_strides(output_stride, strides):
    backbone = small(output_stride=output_stride)
    features = backbone(np.zeros((1, 33, 64, 3), "float32"))
    assert list(backbone.strides.values()) == strides
    assert [tensor.shape[1] for tensor in features.values()] == [-(-33 // stride) for stride in strides]


def test_levels():
    assert MobileNetV3().channels == {"P1": 16, "P2": 24, "P3": 40, "P4": 112, "P5": 960}
    assert MobileNetV3(levels="first").channels == {"P1": 16, "P2": 24, "P3": 40, "P4": 80, "P5": 960}


def test_dilation_is_that_of_the_whole_last_stage():
    rates = [layer.rate for layer in small(output_stride=8).layers if hasattr(layer, "expanded_filters")]
    assert rates == [1] * 6 + [2] * 6 + [4] * 3


def test_dilated_network_has_the_weights_of_the_plain_one():
    plain, dilated = small(), small(output_stride=16)
    assert [w.shape for w in plain.weights] == [w.shape for w in dilated.weights]
    assert [w.path for w in plain.weights] == [w.path for w in dilated.weights]


def test_refuses():
    with pytest.raises(ValueError, match="output_stride must be 8, 16 or 32; got 4"):
        small(output_stride=4)
    with pytest.raises(ValueError, match="width must be a positive number; got 0"):
        small(width=0)
    with pytest.raises(ValueError, match='levels must be "last" or "first"; got \'all\''):
        small(levels="all")
