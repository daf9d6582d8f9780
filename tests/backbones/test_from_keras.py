"""Backbones from functional Keras models: which tensors are found, and that they are saved."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import kseg
from kseg.backbones import from_keras
from tests.helpers.layer_checks import check_gradients, check_saved


def convolution(filters, strides=1, name=None):
    return keras.layers.Conv2D(filters, 3, strides, padding="same", name=name)


def small_network(input_shape=(None, None, 3)):
    """Residual blocks, squeeze and excitation, a padding before a strided convolution, and a classifier."""
    images = keras.Input(input_shape)
    x = keras.layers.Rescaling(1 / 255)(images)
    x = convolution(4, 2, "stem")(x)
    branch = convolution(4, name="bypassed")(x)
    x = keras.layers.Add(name="end_of_1")([x, branch])
    padded = keras.layers.ZeroPadding2D(1, name="padding")(x)
    x = keras.layers.Conv2D(6, 3, 2, name="strided")(padded)
    factors = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    factors = keras.layers.Conv2D(6, 1, activation="sigmoid")(factors)
    x = keras.layers.Multiply(name="end_of_2")([x, factors])
    x = keras.ops.relu(convolution(8, 4, "strided_by_4")(x))
    scores = keras.layers.Dense(5)(keras.layers.GlobalAveragePooling2D(name="head")(x))
    return keras.Model(images, scores, name="small")


def images(*size, channels=3):
    return np.random.default_rng(0).uniform(0, 255, (2, *size, channels)).astype("float32")


def test_levels():
    model = small_network()
    backbone = from_keras(model)
    assert backbone.strides == {"P1": 2, "P2": 4, "P4": 16}
    assert backbone.channels == {"P1": 4, "P2": 6, "P4": 8}
    layers = {"P1": "end_of_1", "P2": "end_of_2"}
    features = backbone(images(64, 48))
    for level, name in layers.items():
        inner = keras.Model(model.input, model.get_layer(name).output)
        np.testing.assert_array_equal(features[level], inner(images(64, 48)))
    assert np.asarray(features["P4"]).min() == 0  # after the ReLU, which is an operation and no layer
    assert "head" not in [layer.name for layer in backbone.layers]


def test_layers_are_the_models_own():
    model = small_network()
    backbone = from_keras(model)
    model.get_layer("stem").kernel.assign_add(np.ones((3, 3, 3, 4)))
    inner = keras.Model(model.input, model.get_layer("end_of_1").output)
    np.testing.assert_array_equal(backbone(images(32, 32))["P1"], inner(images(32, 32)))


def test_fixed_size_becomes_any():
    backbone = from_keras(small_network((64, 64, 3)))
    assert backbone.input_shape == (None, None, None, 3)
    assert backbone(images(33, 50))["P1"].shape == (2, 17, 25, 4)
    images_64 = keras.Input((64, 64, 1))
    x = keras.layers.Flatten()(keras.layers.MaxPooling2D()(convolution(2, 2)(images_64)))
    backbone = from_keras(keras.Model(images_64, keras.layers.Dense(3)(x)))
    assert backbone.strides == {"P1": 2, "P2": 4}


def test_sequential_with_an_inner_sequential():
    inner = keras.Sequential([convolution(4, 2), convolution(4)])
    backbone = from_keras(keras.Sequential([keras.Input((None, None, 2)), inner, convolution(6, 2)]))
    assert backbone.channels == {"P1": 4, "P2": 6}


def test_gradients_and_saving_alone(tmp_path):
    backbone = from_keras(small_network())
    image = keras.Input((None, None, 3))
    model = keras.Model(image, backbone(image)["P4"])
    check_gradients(model, images(40, 36))
    check_saved(model, images(40, 36), tmp_path / "model.keras")


def test_saved_inside_a_model(tmp_path):
    model = kseg.UNet(2, backbone=from_keras(small_network(), pixel_range=(0, 255)), decoder_filters=(8, 8, 4, 4))
    x = images(40, 37).astype("uint8")
    assert model(x).shape == (2, 40, 37, 2)
    loaded = check_saved(model, x, tmp_path / "model.keras")
    assert loaded.get_layer("backbone").pixel_std == (1 / 255,) * 3
    again = check_saved(loaded, x, tmp_path / "again.keras")
    assert again.get_config().keys() == model.get_config().keys()


@pytest.mark.parametrize(
    ("make", "channels"),
    [
        (keras.applications.MobileNetV2, [96, 144, 192, 576, 1280]),
        (keras.applications.ResNet50, [64, 256, 512, 1024, 2048]),
        (keras.applications.DenseNet121, [64, 128, 256, 512, 1024]),
        (keras.applications.EfficientNetV2B0, [16, 32, 192, 672, 1280]),
        (keras.applications.ConvNeXtTiny, [None, 96, 192, 384, 768]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_applications(make, channels):
    """Before each strided block: the last map of the stride before, which is the widened one in inverted residuals."""
    model = make(weights=None, include_top=False, input_shape=(None, None, 3))
    backbone = from_keras(model)
    found = [backbone.channels.get(f"P{level}") for level in range(1, 6)]
    assert found == channels
    assert backbone.output["P5"].shape[1:] == model.output.shape[1:]


def test_pixel_range():
    backbone = from_keras(small_network(), pixel_range=(-1, 3))
    zero_to_one = np.array([0.0, 0.5, 1.0])
    np.testing.assert_allclose((zero_to_one - backbone.pixel_mean[0]) / backbone.pixel_std[0], [-1, 1, 3])


def test_flipped_channels_are_part_of_the_graph():
    image = keras.Input((None, None, 3))
    base = convolution(2, 2)
    plain = from_keras(keras.Model(image, base(image)))
    flipped = from_keras(keras.Model(image, base(keras.ops.flip(image, axis=-1))))
    x = images(8, 8)
    np.testing.assert_array_equal(flipped(x)["P1"], plain(x[..., ::-1])["P1"])


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


def test_refuses():
    with pytest.raises(TypeError, match=r"model must be a functional Keras model, .* got Subclassed"):
        from_keras(Subclassed())
    with pytest.raises(TypeError, match=r"model must be a functional Keras model, .* got str"):
        from_keras("resnet50")
    vector = keras.Input((4,))
    with pytest.raises(ValueError, match=r"one input of shape \(B, H, W, channels\); .* has \(None, 4\)"):
        from_keras(keras.Model(vector, keras.layers.Dense(2)(vector)))
    image = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match=r"one input of shape \(B, H, W, channels\)"):
        from_keras(keras.Model([image, vector], [convolution(2, 2)(image), keras.layers.Dense(2)(vector)]))
    pooled = keras.layers.GlobalAveragePooling2D()(convolution(2)(image))
    with pytest.raises(ValueError, match="smaller than its images; flat has none"):
        from_keras(keras.Model(image, keras.layers.Dense(2)(pooled), name="flat"))
    with pytest.raises(ValueError, match="smaller than its images; early has none"):
        from_keras(keras.Model(image, keras.layers.GlobalMaxPooling2D()(image), name="early"))
    fixed = keras.Input((8, 8, 3))
    x = keras.layers.Reshape((8, 8, 3))(keras.layers.Reshape((192,))(fixed))
    with pytest.raises(ValueError, match=r"model must work on images of any size .* whole does not: build it with"):
        from_keras(keras.Model(fixed, convolution(2, 2)(x), name="whole"))
    with pytest.raises(ValueError, match="pixel_range and pixel_mean with pixel_std exclude each other"):
        from_keras(small_network(), pixel_range=(0, 1), pixel_mean=(0, 0, 0))
    with pytest.raises(ValueError, match=r"pixel_range must be two increasing numbers .* got \(1, 0\)"):
        from_keras(small_network(), pixel_range=(1, 0))
    with pytest.raises(ValueError, match="pixel_mean and pixel_std must be given together"):
        from_keras(small_network(), pixel_mean=(0, 0, 0))
    with pytest.raises(ValueError, match=r"pixel_mean must hold one finite number per channel of the images, 3; got"):
        from_keras(small_network(), pixel_mean=(0, 0), pixel_std=(1, 1))
