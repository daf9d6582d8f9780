"""Xception as a backbone."""

from __future__ import annotations

import numpy as np
import pytest

from kseg.backbones import Xception
from tests.helpers.backbone_checks import check_backbone
from tests.helpers.layer_checks import count


def small(**options):
    return Xception(**{"width": 1 / 32, "middle_units": 1, **options})


def separable(inputs, outputs):
    """3 x 3 depthwise and 1 x 1 pointwise, each with gamma and beta."""
    return 9 * inputs + 2 * inputs + inputs * outputs + 2 * outputs


def shortcut(inputs, outputs):
    return inputs * outputs + 2 * outputs


def test_parameters():
    stem = 9 * 3 * 32 + 2 * 32 + 9 * 32 * 64 + 2 * 64
    entry = [(64, 128), (128, 256), (256, 728)]
    entry = sum(separable(a, b) + 2 * separable(b, b) + shortcut(a, b) for a, b in entry)
    middle = 3 * separable(728, 728)
    leaving = separable(728, 728) + separable(728, 1024) + separable(1024, 1024) + shortcut(728, 1024)
    last = separable(1024, 1536) + separable(1536, 1536) + separable(1536, 2048)
    assert stem + entry + 16 * middle + leaving + last == 37_867_312
    # Units of the middle flow are alike: two networks tell the size of all.
    none, one = (count(Xception(middle_units=units).trainable_weights) for units in (0, 1))
    assert one - none == middle
    assert none + 16 * middle == 37_867_312


@pytest.mark.parametrize("options", [{}, {"output_stride": 8, "middle_units": 0}], ids=str)
def test_backbone(options, tmp_path):
    # Momentum, so that the moving averages follow a single step at all.
    check_backbone(lambda **kw: small(norm_momentum=0.9, **options, **kw), tmp_path / "xception.keras")


@pytest.mark.parametrize(
    ("output_stride", "strides", "rates"),
    [
        (32, [2, 4, 8, 16, 32], [1, 1, 1, 1, 1, 1]),
        (16, [2, 4, 8, 16, 16], [1, 1, 1, 1, 1, 2]),
        (8, [2, 4, 8, 8, 8], [1, 1, 1, 2, 2, 4]),
    ],
)
def test_strides_and_rates(output_stride, strides, rates):
    """As published: the block that would have had the stride keeps the rate before it, what follows has twice that."""
    backbone = small(output_stride=output_stride)
    assert list(backbone.strides.values()) == strides
    blocks = [
        "entry_flow_block1",
        "entry_flow_block2",
        "entry_flow_block3",
        "middle_flow_block1",
        "exit_flow_block1",
        "exit_flow_block2",
    ]
    for block, rate in zip(blocks, rates, strict=True):
        for number in (1, 2, 3):
            layer = backbone.get_layer(f"{block}_unit_1_separable_conv{number}_depthwise")
            assert layer.rate == rate, layer.name
    features = backbone(np.zeros((1, 33, 40, 3), "float32"))
    assert [tensor.shape[1] for tensor in features.values()] == [-(-33 // stride) for stride in strides]


def test_channels_and_activations():
    backbone = Xception(middle_units=0)
    assert backbone.channels == {"P1": 128, "P2": 256, "P3": 728, "P4": 1024, "P5": 2048}
    features = small()(np.random.default_rng(0).normal(size=(1, 40, 40, 3)).astype("float32"))
    # After a normalisation without activation, and after a ReLU.
    assert np.asarray(features["P2"]).min() < 0
    assert np.asarray(features["P5"]).min() == 0


def test_output_strides_share_weights():
    assert [w.path for w in small(output_stride=8).weights] == [w.path for w in small().weights]


def test_refuses():
    with pytest.raises(ValueError, match="output_stride must be 8, 16 or 32; got 4"):
        small(output_stride=4)
    with pytest.raises(ValueError, match="middle_units must be an int of at least 0; got -1"):
        small(middle_units=-1)
    with pytest.raises(ValueError, match="width must be a positive number; got 0"):
        small(width=0)
