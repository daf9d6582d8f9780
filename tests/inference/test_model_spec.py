"""What inference reads of a model, and what it refuses."""

from __future__ import annotations

import keras
import pytest

from kseg.inference.model_spec import ModelSpec


def model_with(layer, size=64):
    images = keras.Input((size, size, 3))
    return keras.Model(images, layer(images))


@pytest.mark.parametrize(("strides", "shown"), [(4, "(16, 16)"), (2, "(32, 32)")])
def test_logits_at_a_lower_resolution_are_no_valid_padding(strides, shown):
    small = model_with(keras.layers.Conv2D(2, strides, strides=strides))
    with pytest.raises(ValueError) as caught:
        ModelSpec.of(small)
    message = str(caught.value)
    assert f"logits of {shown} (height, width) for images of (64, 64)" in message
    assert f"UpSampling2D({strides}" in message
    whole = keras.Model(small.inputs, keras.layers.UpSampling2D(strides, interpolation="bilinear")(small.outputs[0]))
    assert ModelSpec.of(whole).margins == (0, 0)


def test_valid_padding_of_any_model():
    assert ModelSpec.of(model_with(keras.layers.Conv2D(2, 9))).margins == (4, 4)
    deep = model_with(keras.layers.Conv2D(2, 41))  # more than half is lost: said by whoever made the model
    deep.margin = 20
    assert ModelSpec.of(deep).margins == (20, 20)
