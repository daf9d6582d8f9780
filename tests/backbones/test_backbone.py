"""The contract of backbones."""

from __future__ import annotations

import keras
import pytest

from kseg.backbones import Backbone


def features():
    image = keras.Input((None, None, 3))
    fine = keras.layers.Conv2D(4, 3, strides=2, padding="same")(image)
    return image, fine, keras.layers.Conv2D(8, 3, strides=2, padding="same")(fine)


def test_levels_strides_and_channels():
    image, fine, coarse = features()
    backbone = Backbone(image, {"P1": fine, "P2": coarse}, strides={"P1": 2, "P2": 4})
    assert backbone.channels == {"P1": 4, "P2": 8}
    assert list(backbone.output) == ["P1", "P2"]


def test_refuses_other_names():
    image, fine, coarse = features()
    with pytest.raises(ValueError, match="outputs must be named"):
        Backbone(image, {"P2": fine, "P1": coarse}, strides={"P1": 2, "P2": 4})
    with pytest.raises(ValueError, match="outputs must be named"):
        Backbone(image, {"C1": fine}, strides={"C1": 2})
    with pytest.raises(ValueError, match="strides must name the levels"):
        Backbone(image, {"P1": fine}, strides={"P2": 2})
