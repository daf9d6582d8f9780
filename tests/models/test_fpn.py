"""The feature pyramid network."""

from __future__ import annotations

import keras
import pytest

import kseg
from kseg.backbones import ResNet
from tests.helpers.layer_checks import count
from tests.helpers.model_checks import check_model
from tests.helpers.tiny_backbone import TinyBackbone


def tiny(*, input_shape=(None, None, 3), levels=(1, 2, 3, 4, 5), **options):
    return kseg.FPN(3, TinyBackbone(input_shape, levels), **{"pyramid_filters": 5, "filters": 8, **options})


@pytest.mark.parametrize(
    ("depth", "num_classes", "merge", "expected"), [(34, 1, "add", 23_155_393), (50, 3, "concat", 26_117_443)]
)
def test_parameters_of_the_published_network(depth, num_classes, merge, expected):
    """As segmentation-models-pytorch counts them."""
    assert count(kseg.FPN(num_classes, ResNet(depth), merge=merge).trainable_weights) == expected


def test_parameters_by_hand():
    backbone = count(TinyBackbone().trainable_weights)
    laterals = (12 + 10 + 8 + 6) * 5 + 4 * 5
    convolutions = 4 * 9 * 5 * 8 + 3 * 9 * 8 * 8 + 7 * 16  # seven: three at P5, two at P4, one at P3 and at P2
    assert count(tiny().trainable_weights) - backbone == laterals + convolutions + 8 * 3 + 3
    assert count(tiny(merge="concat").trainable_weights) - backbone == laterals + convolutions + 32 * 3 + 3


@pytest.mark.parametrize("merge", ["add", "concat"])
def test_everything(merge, tmp_path):
    keras.utils.set_random_seed(0)  # small networks have activations that are 0 everywhere under some draws
    check_model(lambda **kw: tiny(merge=merge, **kw), tmp_path / "model.keras", sizes=((33, 29), (1, 5)), channels=(1,))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"merge": "cat"}, """merge must be "add" or "concat"; got 'cat'"""),
        ({"filters": 0}, "filters must be a positive int; got 0"),
        ({"pyramid_filters": 2.0}, "pyramid_filters must be a positive int; got 2.0"),
        ({"dropout": -1}, r"dropout must be a rate in \[0, 1\); got -1"),
        ({"levels": (1, 2, 3)}, "must have the levels P2, P3, P4, P5 for FPN; P4, P5 are missing"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        tiny(**options)
