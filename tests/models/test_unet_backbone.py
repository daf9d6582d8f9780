"""The U-Net on a backbone, and Attention U-Net, which has both forms."""

from __future__ import annotations

import keras
import pytest

import kseg
from kseg.backbones import VGG, ResNet
from tests.helpers.layer_checks import count
from tests.helpers.model_checks import check_model, uint8_images
from tests.helpers.tiny_backbone import TinyBackbone

FILTERS = (7, 6, 5, 4, 3)


def tiny(model, *, input_shape=(None, None, 3), levels=(1, 2, 3, 4, 5), **options):
    return model(3, backbone=TinyBackbone(input_shape, levels), **{"decoder_filters": FILTERS, **options})


def paper(*, input_shape=(None, None, 3), **options):
    return kseg.AttentionUNet(3, input_shape, **{"filters": 4, "depth": 4, **options})


@pytest.mark.parametrize(("depth", "expected"), [(34, 24_436_369), (50, 32_521_105)])
def test_parameters_of_the_published_network(depth, expected):
    assert count(kseg.UNet(1, backbone=ResNet(depth)).trainable_weights) == expected


def steps(*pairs):
    """The numbers in the steps of a decoder: two 3 x 3 convolutions, a scale and a shift per channel each."""
    return sum(9 * joined * out + 9 * out * out + 4 * out for joined, out in pairs)


def test_parameters_by_hand():
    decoder = steps((12 + 10, 7), (7 + 8, 6), (6 + 6, 5), (5 + 4, 4), (4, 3)) + 9 * 3 * 3 + 3
    model = tiny(kseg.UNet)
    backbone = count(model.get_layer("backbone").trainable_weights)
    assert count(model.trainable_weights) - backbone == decoder
    centered = tiny(kseg.UNet, center_block=True)
    assert count(centered.trainable_weights) - backbone == decoder + 2 * (9 * 12 * 12 + 24)
    without_norm = tiny(kseg.UNet, norm=None)  # a bias in place of a scale and a shift
    assert count(without_norm.trainable_weights) - backbone == decoder - 2 * sum(FILTERS)
    gates = sum(
        4 * skip * skip + (below + 1) * skip + skip + 1 + skip * skip + 2 * skip
        for skip, below in ((10, 12), (8, 7), (6, 6))  # not on P1, the finest
    )
    assert count(tiny(kseg.AttentionUNet).trainable_weights) - backbone == decoder + gates


def test_parameters_of_attention_unet_by_hand():
    """The U-Net with batch normalisation, and a gate on three of its four skips."""
    gates = sum(4 * skip * skip + (2 * skip + 1) * skip + skip + 1 + skip * skip + 2 * skip for skip in (128, 256, 512))
    assert count(kseg.AttentionUNet(1).trainable_weights) == 31_037_633 + gates


@pytest.mark.parametrize(
    "make",
    [
        lambda **kw: tiny(kseg.UNet, **kw),
        lambda **kw: tiny(kseg.UNet, center_block=True, norm=None, activation="silu", **kw),
        lambda **kw: tiny(kseg.AttentionUNet, **kw),
        paper,
    ],
    ids=["unet", "unet, options", "attention unet", "attention unet of the paper"],
)
def test_everything(make, tmp_path):
    keras.utils.set_random_seed(0)  # small networks have activations that are 0 everywhere under some draws
    check_model(make, tmp_path / "model.keras", sizes=((33, 29), (1, 5)), channels=(1,))


@pytest.mark.parametrize("levels", [(2, 3, 4, 5), (1, 3, 5)])
def test_levels_that_a_backbone_lacks_have_no_skip(levels):
    model = tiny(kseg.UNet, levels=levels)
    assert model(uint8_images(1, 37, 50, 3)).shape == (1, 37, 50, 3)
    channels = dict(enumerate((4, 6, 8, 10, 12), start=1))
    below = (12, *FILTERS[:-1])
    joined = [b + (channels[n] if n in levels else 0) for b, n in zip(below, (4, 3, 2, 1, 0), strict=True)]
    decoder = steps(*zip(joined, FILTERS, strict=True)) + 9 * 3 * 3 + 3
    backbone = count(model.get_layer("backbone").trainable_weights)
    assert count(model.trainable_weights) - backbone == decoder


def test_pixel_statistics_of_the_backbone():
    model = kseg.UNet(2, backbone=ResNet(18, filters=2), decoder_filters=(2,) * 5, input_range=(0, 1023))
    normalize = model.get_layer("normalize")
    assert (normalize.input_range, normalize.output_range) == ((0, 1023), (0, 1))
    assert (normalize.mean, normalize.std) == (model.backbone.pixel_mean, model.backbone.pixel_std)
    assert tiny(kseg.UNet).get_layer("normalize").output_range == (-1, 1)


def test_attributes():
    model = tiny(kseg.UNet)
    assert (model.stride, model.receptive_field_radius, model.margin) == (32, None, 0)
    model = paper()
    assert (model.stride, model.receptive_field_radius, model.margin) == (8, None, 0)
    assert gates(model) == {"attention_1", "attention_2"}


def gates(model):
    return {layer.name for layer in model.layers if layer.name.startswith("attention_")}


def test_the_finest_skip_has_no_gate():
    assert gates(tiny(kseg.AttentionUNet)) == {"attention_2", "attention_3", "attention_4"}
    with_p0 = kseg.AttentionUNet(3, backbone=VGG(11, filters=2), decoder_filters=FILTERS)  # P0 is no skip
    assert gates(with_p0) == {"attention_2", "attention_3", "attention_4"}


@pytest.mark.parametrize("model", [kseg.UNet, kseg.AttentionUNet])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"decoder_filters": (4, 4)}, r"decoder_filters must be 5 numbers, .* from P5 up to the image; got \(4, 4\)"),
        ({"decoder_filters": 4}, "decoder_filters must be a list of positive ints; got 4"),
        ({"norm": "group"}, """norm must be "batch" or None; got 'group'"""),
        ({"depth": 4}, "depth belongs to the .*UNet without a backbone, and backbone is given: leave it out; got 4"),
        ({"filters": 16}, "filters belongs to the .*UNet without a backbone"),
        ({"dropout": 0.5}, "dropout belongs to the .*UNet without a backbone"),
        ({"upsampling": "bilinear"}, "upsampling belongs to the .*UNet without a backbone"),
        ({"backbone": None}, "decoder_filters needs a backbone, and backbone is None: leave it out"),
    ],
)
def test_argument_errors(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        model(3, **{"backbone": TinyBackbone(), "decoder_filters": FILTERS, **arguments})


def test_other_errors():
    with pytest.raises(ValueError, match="padding belongs to the UNet without a backbone"):
        tiny(kseg.UNet, padding="valid")
    with pytest.raises(ValueError, match="center_block needs a backbone"):
        kseg.UNet(3, center_block=True)
    with pytest.raises(ValueError, match="input_shape belongs to the UNet without a backbone"):
        kseg.UNet(3, (None, None, 1), backbone=TinyBackbone())
    plain = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 3)])
    with pytest.raises(TypeError, match=r"must be a kseg.backbones.Backbone; got Sequential.*from_keras\(model\)"):
        kseg.UNet(3, backbone=plain)
