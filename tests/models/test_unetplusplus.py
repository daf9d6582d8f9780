"""U-Net++."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import kseg
from tests.helpers.layer_checks import count
from tests.helpers.model_checks import check_model, uint8_images
from tests.helpers.tiny_backbone import TinyBackbone

FILTERS = (7, 6, 5, 4, 3)


def tiny(*, input_shape=(None, None, 3), levels=(1, 2, 3, 4, 5), **options):
    return kseg.UNetPlusPlus(3, TinyBackbone(input_shape, levels), **{"decoder_filters": FILTERS, **options})


def test_parameters_of_the_published_network():
    """As segmentation-models-pytorch counts its UnetPlusPlus on ResNet-34 with one class."""
    assert count(kseg.UNetPlusPlus(1).trainable_weights) == 26_078_609


def test_parameters_by_hand():
    """Backbone levels of 4, 6, 8, 10 and 12 channels; what every node sees, and its own channels."""
    nodes = [
        (12 + 10, 7),  # x_0_0, at P4
        (10 + 8, 8),  # x_1_1, at P3
        (7 + 8 + 8, 6),  # x_0_1
        (8 + 6, 6),  # x_2_2, at P2
        (8 + 6 + 6, 6),  # x_1_2
        (6 + 6 + 6 + 6, 5),  # x_0_2
        (6 + 4, 4),  # x_3_3, at P1
        (6 + 4 + 4, 4),  # x_2_3
        (6 + 4 + 4 + 4, 4),  # x_1_3
        (5 + 4 + 4 + 4 + 4, 4),  # x_0_3
        (4, 3),  # x_0_4, at the size of the image
    ]
    decoder = sum(9 * joined * out + 9 * out * out + 4 * out for joined, out in nodes) + 9 * 3 * 3 + 3
    model = tiny()
    backbone = count(model.get_layer("backbone").trainable_weights)
    assert count(model.trainable_weights) - backbone == decoder
    supervised = tiny(deep_supervision=True)
    assert count(supervised.trainable_weights) - backbone == decoder + 3 * (4 * 3 + 3)
    centered = tiny(center_block=True)
    assert count(centered.trainable_weights) - backbone == decoder + 2 * (9 * 12 * 12 + 24)


def test_everything(tmp_path):
    keras.utils.set_random_seed(0)  # small networks have activations that are 0 everywhere under some draws
    check_model(tiny, tmp_path / "model.keras", sizes=((33, 29), (1, 5)), channels=(1,))


def test_deep_supervision_trains_the_heads_and_leaves_the_logits(tmp_path):
    model = tiny(deep_supervision=True, levels=(1, 2, 3, 4), decoder_filters=FILTERS[1:])
    images = uint8_images(2, 32, 33, 3)
    labels = np.random.default_rng(0).integers(0, 3, images.shape[:3])
    heads = [model.get_layer(f"supervision_{number}") for number in (1, 2)]
    before = [np.array(head.kernel) for head in heads]
    logs = model.fit(images, labels, verbose=0).history
    assert {"supervision_1_loss", "supervision_2_loss"} <= set(logs)
    assert all(not np.array_equal(a, b.kernel) for a, b in zip(before, heads, strict=True))
    model.save(tmp_path / "model.keras")
    loaded = kseg.UNetPlusPlus.from_config(model.get_config())
    loaded.load_weights(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images), model(images))
    assert model(images).shape == (2, 32, 33, 3)


def test_errors():
    with pytest.raises(ValueError, match=r"must have the levels P1, P2, P3, P4, P5 for UNetPlusPlus; P1 is missing"):
        tiny(levels=(2, 3, 4, 5))
    for flag in ("center_block", "deep_supervision"):
        with pytest.raises(ValueError, match=f"{flag} must be True or False; got 1"):
            tiny(**{flag: 1})
    with pytest.raises(ValueError, match="decoder_filters must be 5 numbers"):
        tiny(decoder_filters=(4, 4))
    with pytest.raises(ValueError, match=r"input_shape belongs to the default backbone, .* takes \(None, None, 3\)"):
        kseg.UNetPlusPlus(3, TinyBackbone(), input_shape=(None, None, 1))
