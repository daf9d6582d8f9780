"""VGG as a backbone."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import kseg
from kseg.backbones import VGG
from tests.helpers.backbone_checks import check_backbone
from tests.helpers.layer_checks import count


@pytest.mark.parametrize(
    ("depth", "batch_norm", "expected"),
    [
        # torchvision's `features`: what its whole networks have less the classifier's 123,642,856.
        (16, False, 138_357_544 - 123_642_856),
        (16, True, 138_365_992 - 123_642_856),
        (19, False, 143_667_240 - 123_642_856),
        (19, True, 143_678_248 - 123_642_856),
        (11, False, 132_863_336 - 123_642_856),
        (13, True, 133_053_736 - 123_642_856),
    ],
)
def test_parameters(depth, batch_norm, expected):
    assert count(VGG(depth, batch_norm).trainable_weights) == expected


def test_classifier_of_the_counts_above():
    assert (7 * 7 * 512 * 4096 + 4096) + (4096 * 4096 + 4096) + (4096 * 1000 + 1000) == 123_642_856


@pytest.mark.parametrize("options", [{}, {"batch_norm": True}, {"depth": 11, "pool_padding": "same"}], ids=str)
def test_backbone(options, tmp_path):
    check_backbone(lambda **kw: VGG(filters=2, **options, **kw), tmp_path / "vgg.keras")


def test_levels_are_before_the_poolings_and_after_the_last():
    backbone = VGG(11, filters=2)
    features = backbone(np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32"))
    assert backbone.strides == {"P0": 1, "P1": 2, "P2": 4, "P3": 8, "P4": 16, "P5": 32}
    pooled = np.asarray(features["P4"]).reshape(1, 2, 2, 2, 2, 16).max(axis=(2, 4))
    np.testing.assert_array_equal(features["P5"], pooled)


@pytest.mark.parametrize(("padding", "expected"), [("valid", [47, 23, 11, 5, 2, 1]), ("same", [47, 24, 12, 6, 3, 2])])
def test_odd_sizes(padding, expected):
    features = VGG(11, filters=2, pool_padding=padding)(np.zeros((1, 47, 47, 3), "float32"))
    assert [tensor.shape[1] for tensor in features.values()] == expected


def test_names_count_as_torchvision_does():
    names = [layer.name for layer in VGG(16, True, filters=2).layers if layer.weights]
    assert names[:5] == ["features_0", "features_3", "features_7", "features_10", "features_14"]
    assert names[-1] == "features_40"
    assert VGG(16, filters=2).layers[-1].name == "features_30"


def test_refuses():
    with pytest.raises(ValueError, match="depth must be one of 11, 13, 16, 19; got 17"):
        VGG(17)
    with pytest.raises(ValueError, match='pool_padding must be "valid" or "same"; got \'full\''):
        VGG(pool_padding="full")


TOO_SMALL = r'images must be at least 32 x 32 pixels for the five poolings of a VGG with pool_padding="valid"'


def test_images_that_the_poolings_shrink_to_nothing_are_named():
    with pytest.raises(ValueError, match=f'{TOO_SMALL}; got 31 x 40. Use larger images, or pool_padding="same"'):
        VGG(11, filters=1, input_shape=(31, 40, 3))
    with pytest.raises(ValueError, match=f"{TOO_SMALL}; got None x 16"):
        VGG(11, filters=1, input_shape=(None, 16, 3))
    model = kseg.UNet(2, backbone=VGG(11, filters=1), decoder_filters=(1,) * 5)
    small, labels = np.zeros((1, 31, 40, 3), np.float32), np.zeros((1, 31, 40), np.uint8)
    for call in (model, model.predict, lambda images: model.fit(images, labels, verbose=0)):
        with pytest.raises(ValueError, match=f"{TOO_SMALL}; got 31 x 40"):
            call(small)
    unknown = tf.function(model, input_signature=[tf.TensorSpec([None, None, None, 3])])
    for call in (unknown, lambda images: kseg.predict(model, images[0])):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"images must be at least 32 x 32 pixels(?s:.*)31 40"):
            call(small)
    assert unknown(tf.zeros([1, 32, 33, 3])).shape == (1, 32, 33, 2)
    assert VGG(11, filters=1, pool_padding="same")(tf.zeros([1, 1, 9, 3]))["P5"].shape == (1, 1, 1, 8)
