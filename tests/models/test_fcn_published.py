"""FCN-32s, -16s and -8s: counts, sizes, alignment."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import kseg
from kseg.backbones import VGG
from kseg.layers import BilinearInitializer
from tests.helpers.layer_checks import count
from tests.helpers.model_checks import check_model, uint8_images

FORMS = ["32s", "16s", "8s"]


def small(num_classes=3, input_shape=(None, None, 3), form="8s", **options):
    if "backbone" not in options:
        with_dtype = {"dtype": options["dtype"]} if "dtype" in options else {}
        options["backbone"] = VGG(11, True, input_shape=input_shape, filters=4, pool_padding="same", **with_dtype)
    return kseg.FCN(num_classes, form=form, **{"classifier_filters": 16, **options})


def test_parameters_of_the_published_network():
    assert count(kseg.FCN(21, form="8s").trainable_weights) == 134_489_759


@pytest.mark.parametrize(("form", "expected"), [("32s", 136_152_917), ("16s", 134_815_994), ("8s", 134_489_759)])
def test_where_the_parameters_are(form, expected):
    """The same network with a narrower classifier, and what that lacks."""
    model = kseg.FCN(21, form=form, classifier_filters=1)
    missing = (49 * 512 + 1) * 4095 + (4096 * 4096 + 4096 - 2) + 4095 * 21
    assert count(model.trainable_weights) + missing == expected
    scores = {"32s": 0, "16s": 512 * 21 + 21, "8s": 512 * 21 + 21 + 256 * 21 + 21}[form]
    enlargements = {"32s": 64**2, "16s": 4**2 + 32**2, "8s": 4**2 + 4**2 + 16**2}[form]
    vgg = 14_714_688 + (49 * 512 + 1) * 4096 + (4096 + 1) * 4096
    assert vgg + 4096 * 21 + 21 + scores + 21 * 21 * enlargements == expected


@pytest.mark.parametrize("form", FORMS)
def test_model(form, tmp_path):
    check_model(lambda **kw: small(form=form, **kw), tmp_path / "fcn.keras", channels=(1,))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [(1, 1), (31, 58), (57, 26)])
def test_any_size(form, size):
    assert small(form=form)(uint8_images(1, *size, 3)).shape == (1, *size, 3)


@pytest.mark.parametrize("form", FORMS)
def test_scores_lie_where_they_were_seen(form):
    """The logits of a step in the image change, on average over its place, where the image does.

    The network computes means: its convolutions and its classifier's take that of what they see. Poolings move a step
    up to the left and a step down as far to the right. Eight places, four pixels apart, cover the largest stride; the
    mean over them is half a distance, two pixels, off at the most.
    """
    backbone = VGG(11, input_shape=(None, None, 1), filters=1, pool_padding="same")
    model = small(1, form=form, backbone=backbone, input_range=None, classifier_filters=1)
    for layer in [*backbone.layers, *model.layers]:
        if layer is not backbone and layer.weights and "upscore" not in layer.name:
            kernel, bias = layer.get_weights()
            layer.set_weights([np.full(kernel.shape, 1 / np.prod(kernel.shape[:3])), np.zeros_like(bias)])
    steps = np.arange(600, 632, 4)
    up = (np.arange(1200) >= steps[:, None]).astype("float32")
    rows = np.asarray(model(np.concatenate([up, 1 - up])[:, None, :, None]))[:, 0, 250:950, 0]
    change = np.abs(np.diff(rows))
    middles = (change * np.arange(251, 950)).sum(1) / change.sum(1) - np.tile(steps, 2)
    assert abs(middles.mean()) <= 2


def test_bilinear_kernel():
    """Stride 2: weights 1/4, 3/4, 3/4, 1/4, and nothing from one class to another."""
    kernel = np.asarray(BilinearInitializer()((4, 4, 2, 2)))
    np.testing.assert_allclose(kernel[:, 1, 0, 0], np.array([1, 3, 3, 1]) * 3 / 16)
    assert not kernel[..., 0, 1].any()
    with pytest.raises(ValueError, match="must keep the number of channels; got 3 -> 2"):
        BilinearInitializer()((4, 4, 2, 3))


def test_enlargement_keeps_a_constant():
    layer = keras.layers.Conv2DTranspose(3, 16, 8, use_bias=False, kernel_initializer=BilinearInitializer())
    enlarged = np.asarray(layer(np.ones((1, 4, 4, 3), "float32")))
    np.testing.assert_allclose(enlarged[:, 8:-8, 8:-8], 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"form": "4s"}, 'form must be None, "32s", "16s" or "8s"; got \'4s\''),
        (
            {"backbone": VGG(11, filters=1)},
            'VGG with pool_padding="same" for .*, whose sizes fit no other; got one with pool_padding="valid"',
        ),
        ({"classifier_filters": 0}, "classifier_filters must be a positive int; got 0"),
        ({"auxiliary": True}, "auxiliary needs form=None: the published form '8s' has no such head"),
        ({"dropout": 1}, r"dropout must be a rate in \[0, 1\); got 1"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        small(**arguments)
