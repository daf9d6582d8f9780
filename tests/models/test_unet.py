"""The U-Net's architecture: counts, sizes, geometry, configuration."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg
from tests.helpers.layer_checks import check_gradients, check_saved, count, without_ids


def small(num_classes=2, **options):
    return kseg.UNet(num_classes, **{"filters": 4, "depth": 3, **options})


def images(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype="uint8")


@pytest.mark.parametrize(
    ("num_classes", "channels", "norm", "padding", "expected"),
    [
        (2, 1, None, "valid", 31_030_658),  # the paper
        (2, 1, None, "same", 31_030_658),
        (1, 3, None, "same", 31_031_745),
        (1, 3, "batch", "same", 31_037_633),
    ],
)
def test_parameters_of_the_published_network(num_classes, channels, norm, padding, expected):
    model = kseg.UNet(num_classes, (None, None, channels), norm=norm, padding=padding)
    assert count(model.trainable_weights) == expected


def test_paper_sizes():
    model = kseg.UNet(2, (None, None, 1), filters=1, norm=None, padding="valid")
    assert model(np.zeros((1, 572, 572, 1))).shape == (1, 388, 388, 2)
    assert model.margin == (572 - 388) // 2
    assert model.logits_size(572, 572) == (388, 388)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (16, 16), (17, 30), (31, 4)])
@pytest.mark.parametrize("channels", [1, 5])
def test_any_size_and_channels(size, channels):
    model = small(3, input_shape=(None, None, channels), depth=4)
    logits = model(images(2, *size, channels))
    assert logits.shape == (2, *size, 3)
    assert logits.dtype == tf.float32


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"norm": "group"},
        {"norm": None, "dropout": 0.3},
        {"upsampling": "bilinear"},
        {"padding": "valid"},
        {"padding": "valid", "upsampling": "bilinear", "depth": 2},
        {"depth": 1},
        {"num_classes": 1, "input_range": None},
        {"activation": "silu", "kernel_initializer": keras.initializers.HeUniform(seed=3)},
    ],
    ids=str,
)
def test_options(options, tmp_path):
    """Each option builds, has gradients everywhere, keeps its configuration and saves."""
    model = small(**options)
    x = images(2, 47, 45, 3)
    config = model.get_config()
    again = kseg.UNet.from_config(json.loads(json.dumps(config)))
    assert without_ids(again.get_config()) == without_ids(config)
    for name, value in options.items():
        if name not in ("activation", "kernel_initializer"):  # which are serialised
            assert config[name] == value
    assert not again.compiled
    check_gradients(model, x)
    loaded = check_saved(model, x, tmp_path / "model.keras")
    assert without_ids(loaded.get_config()) == without_ids(config)


def test_dropout_is_at_the_two_lowest_levels():
    rates = [layer.get_config().get("dropout") for layer in small(dropout=0.5).layers if "coder" in layer.name]
    assert rates == [0.0, 0.5, 0.5, 0.0, 0.0]


def test_equal_levels_have_different_initial_weights():
    """One initializer object shared between layers would draw the same numbers."""
    model = small(kernel_initializer=keras.initializers.HeNormal(), norm=None, input_shape=(None, None, 4))
    kernels = [tuple(np.ravel(w)[:4]) for w in model.trainable_weights if len(w.shape) == 4]
    assert len(set(kernels)) == len(kernels)


def test_initial_weights_follow_the_paper():
    """Gaussian of variance 2 / fan-in; the bound is 5 standard errors of a variance from n draws (kurtosis of a
    normal truncated at two standard deviations is below that of a normal, so sqrt(2 / n) bounds the relative error)."""
    model = kseg.UNet(2, filters=64, depth=2, norm=None)
    kernel = np.asarray(model.get_layer("encoder_1").trainable_weights[2])  # 3x3x128x128
    fan_in = 9 * 128
    assert abs(kernel.var() * fan_in / 2 - 1) < 5 * np.sqrt(2 / kernel.size)


def ones_network(depth, upsampling, padding="same"):
    """A network of positive weights without normalisation: what an impulse reaches does not cancel."""
    model = kseg.UNet(
        1, (None, None, 1), filters=1, depth=depth, norm=None, upsampling=upsampling, padding=padding, input_range=None
    )
    model.set_weights([np.full(w.shape, 0.5 if w.ndim == 4 else 0) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("upsampling", ["transpose", "bilinear"])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_receptive_field_radius_is_exact(depth, upsampling, padding):
    """The farthest that an impulse reaches, over all positions relative to the pooling grid."""
    model = ones_network(depth, upsampling, padding)
    radius, stride = model.receptive_field_radius, model.stride
    width = 2 * (radius + model.margin + 2 * stride)
    width += -width % stride
    height = stride if padding == "same" else 2 * model.margin + 2 * stride
    positions = width // 2 + np.arange(stride)
    impulses = np.zeros((stride, height, width, 1), "float32")
    impulses[np.arange(stride), height // 2, positions] = 1
    reached = np.asarray(model(impulses))[..., 0].any(axis=1)
    distances = [abs(np.flatnonzero(row) + model.margin - at).max() for row, at in zip(reached, positions, strict=True)]
    assert max(distances) == radius


def test_radius_of_group_normalisation_is_the_whole_image():
    assert small(norm="group").receptive_field_radius is None


def test_valid_padding_drops_odd_rows_without_moving_anything():
    """Where a pooling loses an odd row, the rest of the logits stays what it is for the larger image."""
    model = small(padding="valid", input_range=None)
    x = np.random.default_rng(0).normal(size=(1, 60, 60, 3)).astype("float32")
    whole = np.asarray(model(x))
    for lost in range(1, 5):
        part = np.asarray(model(x[:, :-lost, :-lost]))
        # Equal up to the order in which a convolution of another size adds up: float32 noise over ~1e3 terms.
        np.testing.assert_allclose(part, whole[:, : part.shape[1], : part.shape[2]], atol=1e-4)


def test_valid_padding_matches_same_padding_inside():
    """With two levels both forms share the pooling grid, and agree away from the border."""
    same, valid = small(depth=2), small(depth=2, padding="valid")
    valid.set_weights(same.get_weights())
    x, radius = images(1, 64, 64, 3), same.receptive_field_radius
    margin = valid.margin
    inside = slice(radius, 64 - radius)
    shifted = slice(radius - margin, 64 - radius - margin)
    np.testing.assert_allclose(
        np.asarray(valid(x))[:, shifted, shifted], np.asarray(same(x))[:, inside, inside], atol=1e-4
    )


def test_padding_keeps_the_grid_of_a_tile():
    """The padding is at the far end, so a tile cut at a multiple of the stride gives what the whole image gives."""
    model, x = small(), images(1, 90, 90, 3)
    radius, stride = model.receptive_field_radius, model.stride
    tile = np.asarray(model(x[:, 2 * stride :, 2 * stride :]))
    whole = np.asarray(model(x))[:, 2 * stride :, 2 * stride :]
    np.testing.assert_allclose(tile[:, radius:, radius:], whole[:, radius:, radius:], atol=1e-4)


def test_attributes():
    model = small(class_names=["background", "cell"], ignore_index=-1, input_range=(0, 65535))
    assert (model.num_classes, model.ignore_index, model.stride, model.padding) == (2, -1, 4, "same")
    assert model.class_names == ("background", "cell")
    assert model.input_range == (0, 65535)
    assert model.margin == 0


def test_dtype_argument_is_saved(tmp_path):
    """A model trained in mixed precision is one after loading, whatever the policy is then."""
    model = small(dtype="mixed_bfloat16")
    assert keras.config.dtype_policy().name == "float32"
    assert model.get_layer("encoder_1").compute_dtype == "bfloat16"
    loaded = check_saved(model, images(1, 8, 8, 3), tmp_path / "model.keras")
    assert loaded.get_layer("encoder_1").compute_dtype == "bfloat16"
    assert loaded.dtype_policy.name == "mixed_bfloat16"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes must be a positive int; got 0"),
        ({"num_classes": 2.0}, "num_classes must be a positive int; got 2.0"),
        ({"ignore_index": 1}, r"ignore_index=1 is one of the classes 0..1; choose a value outside, or None"),
        ({"ignore_index": 2.5}, "ignore_index must be an int or None; got 2.5"),
        ({"class_names": ["a"]}, "class_names must hold 2 names, one per class; got 1"),
        ({"input_shape": (None, None)}, r"input_shape must be \(height, width, channels\).*got \(None, None\)"),
        ({"input_shape": (None, None, None)}, r"input_shape must be \(height, width, channels\)"),
        ({"depth": 0}, "depth must be an int of at least 1; got 0"),
        ({"num_classes": 2_000_000_000}, "num_classes must be at most 65536, the number of values of a 16-bit mask"),
        ({"input_shape": (0, 0, 3)}, r"a height and a width of at least 1 pixel, or None .* got \(0, 0, 3\)"),
        ({"dropout": "a"}, r"dropout must be a rate in \[0, 1\); got 'a'"),
        ({"dropout": "a", "depth": 1}, r"dropout must be a rate in \[0, 1\); got 'a'"),
        ({"norm": "instance"}, 'norm must be "batch", "group" or None'),
        ({"padding": "full"}, 'padding must be "same" or "valid"'),
        ({"upsampling": "cubic"}, 'upsampling must be "transpose" or "bilinear"'),
        ({"input_range": (255, 0)}, "input_range must be two increasing numbers"),
        ({"input_range": (0, float("inf"))}, r"input_range must be two .* both finite.*got \(0, inf\)"),
        ({"input_range": (float("nan"), 1)}, r"input_range must be two .* both finite.*got \(nan, 1\)"),
        ({"center_block": "no"}, "center_block must be True or False; got 'no'"),
        ({"padding": "valid", "input_shape": (40, 99, 3)}, "at least 44 x 44 pixels .* got 40 x 99"),
    ],
)
def test_argument_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        small(**arguments)
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize("names", ["ab", [1, 2], {"a": 0, "b": 1}])
def test_class_names_that_are_no_list_of_texts(names):
    with pytest.raises(TypeError, match=r'class_names must be a list of texts, such as \["background", "cell"\]; got '):
        small(class_names=names)


def test_unknown_arguments():
    with pytest.raises(TypeError, match="unexpected keyword argument 'filter'; did you mean filters"):
        kseg.UNet(2, depth=2, filter=8)
    with pytest.raises(TypeError, match="unexpected keyword argument 'qqqq'; it takes num_classes, input_shape"):
        kseg.UNet(2, qqqq=8)
    assert small(depth=1, trainable=False).trainable_weights == []


def test_valid_padding_names_the_smallest_image():
    model = small(padding="valid")
    assert model(images(1, 44, 44, 3)).shape == (1, 4, 4, 2)
    with pytest.raises(ValueError, match=r'at least 44 x 44 pixels for padding="valid" and depth=3; got 43 x 60'):
        model(images(1, 43, 60, 3))
    dynamic = tf.function(model, input_signature=[tf.TensorSpec([None, None, None, 3])])
    with pytest.raises(tf.errors.InvalidArgumentError, match="at least 44 x 44 pixels"):
        dynamic(images(1, 43, 60, 3).astype("float32"))
