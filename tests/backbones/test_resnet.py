"""Residual networks: counts, strides, rates, padding, configuration."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.backbones import ResNet
from kseg.layers import PaddedMaxPooling2D, ResidualBlock
from tests.helpers.layer_checks import check_layer, check_saved, count, without_ids


def images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.mark.parametrize(
    ("depth", "trainable", "statistics"),
    [
        (18, 11_176_512, 9_600),
        (34, 21_284_672, 17_024),
        (50, 23_508_032, 53_120),
        (101, 42_500_160, 105_344),
        (152, 58_143_808, 151_424),
    ],
)
def test_parameters(depth, trainable, statistics):
    """Torchvision's without the classifier; the moving statistics are as many as the normalisations' own weights."""
    backbone = ResNet(depth)
    assert count(backbone.trainable_weights) == trainable
    assert count(backbone.non_trainable_weights) == statistics


@pytest.mark.parametrize(
    ("output_stride", "strides"), [(32, (2, 4, 8, 16, 32)), (16, (2, 4, 8, 16, 16)), (8, (2, 4, 8, 8, 8))]
)
@pytest.mark.parametrize("depth", [18, 50])
def test_levels(depth, output_stride, strides):
    backbone = ResNet(depth, output_stride=output_stride, filters=2, input_shape=(None, None, 2))
    assert backbone.strides == {f"P{level}": stride for level, stride in enumerate(strides, start=1)}
    features = backbone(images(2, 65, 42, 2))
    wide = 4 if depth == 50 else 1
    assert backbone.channels == {"P1": 2, "P2": 2 * wide, "P3": 4 * wide, "P4": 8 * wide, "P5": 16 * wide}
    for level, stride in backbone.strides.items():
        assert features[level].shape == (2, -(-65 // stride), -(-42 // stride), backbone.channels[level])


def rates(backbone, stage):
    return [layer.rate for layer in backbone.layers if layer.name.startswith(f"layer{stage}_")]


def test_rates():
    """As torchvision's `replace_stride_with_dilation`: the first block of a dilated stage has the rate before it."""
    options = {"filters": 1}
    assert [rates(ResNet(50, **options), stage) for stage in (3, 4)] == [[1] * 6, [1] * 3]
    assert [rates(ResNet(50, output_stride=16, **options), stage) for stage in (3, 4)] == [[1] * 6, [1, 2, 2]]
    dilated = ResNet(50, output_stride=8, **options)
    assert [rates(dilated, stage) for stage in (2, 3, 4)] == [[1] * 4, [1] + [2] * 5, [2, 4, 4]]
    own = ResNet(50, output_stride=8, dilate_first_block=True, **options)
    assert [rates(own, stage) for stage in (2, 3, 4)] == [[1] * 4, [2] * 6, [4] * 3]
    grid = ResNet(50, output_stride=16, multi_grid=(1, 2, 4), **options)
    assert rates(grid, 4) == [2, 4, 8]
    assert rates(ResNet(18, multi_grid=[1, 2], **options), 4) == [1, 2]


def test_dilation_keeps_the_weights():
    """The output stride changes where convolutions look, not what they hold, and an undilated pixel's features stay."""
    whole, dilated = (ResNet(50, output_stride=stride, filters=2) for stride in (32, 16))
    dilated.set_weights(whole.get_weights())
    x = images(1, 64, 64, 3)
    np.testing.assert_array_equal(np.asarray(whole(x)["P4"]), np.asarray(dilated(x)["P4"]))
    # The first block of the dilated stage only skips the strides of that of the strided one.
    block = whole.get_layer("layer4_0"), dilated.get_layer("layer4_0")
    features = images(1, 9, 9, 32)
    # float32 sums of at most 64 terms, grouped in another way.
    np.testing.assert_allclose(np.asarray(block[1](features))[:, ::2, ::2], np.asarray(block[0](features)), atol=1e-4)


def test_padding_is_symmetric():
    """An even size begins at the pixel at which an odd one begins, which it would not with Keras's padding."""
    backbone = ResNet(18, filters=2)
    x = images(1, 33, 33, 3)
    odd, even = backbone(x)["P2"], backbone(x[:, :32, :32])["P2"]
    np.testing.assert_allclose(np.asarray(even)[:, :3, :3], np.asarray(odd)[:, :3, :3], atol=1e-5)


def test_pooling():
    """Worked by hand; negative inputs show that the padding never wins."""
    pooled = PaddedMaxPooling2D(3, strides=2)(tf.reshape([-1.0, -2.0, -3.0, -4.0], (1, 2, 2, 1)))
    assert np.asarray(pooled).tolist() == [[[[-1.0]]]]
    pooled = PaddedMaxPooling2D(3, strides=2)(tf.reshape([-5.0, -4.0, -3.0, -2.0, -1.0], (1, 1, 5, 1)))
    assert np.asarray(pooled).ravel().tolist() == [-4.0, -2.0, -1.0]
    pooled = PaddedMaxPooling2D(3, strides=2)(tf.reshape([-5.0, -4.0, -3.0, -2.0], (1, 1, 4, 1)))
    assert np.asarray(pooled).ravel().tolist() == [-4.0, -2.0]
    check_layer(lambda **options: PaddedMaxPooling2D(5, 3, **options), (2, 7, 6, 3), (2, 3, 2, 3), trainable=False)
    compiled = tf.function(PaddedMaxPooling2D(), jit_compile=True)
    assert np.asarray(compiled(images(1, 4, 4, 2))).shape == (1, 2, 2, 2)
    with pytest.raises(ValueError, match="pool_size must be an odd int, to pad alike on both sides; got 2"):
        PaddedMaxPooling2D(2)
    with pytest.raises(ValueError, match="strides must be a positive int; got 0"):
        PaddedMaxPooling2D(3, strides=0)


@pytest.mark.parametrize(
    ("options", "channels", "weights"),
    [
        ({"bottleneck": False}, 2, 2 * (9 * 2 * 2 + 2 * 2)),
        ({"bottleneck": False, "strides": 2}, 2, 2 * (9 * 2 * 2 + 2 * 2) + 2 * 2 + 2 * 2),
        ({"rate": 2}, 8, (8 * 2 + 4) + (9 * 2 * 2 + 4) + (2 * 8 + 16)),
        ({"strides": 2, "activation": "silu"}, 3, (3 * 2 + 4) + (9 * 2 * 2 + 4) + (2 * 8 + 16) + (3 * 8 + 16)),
    ],
    ids=str,
)
def test_block(options, channels, weights):
    stride = options.get("strides", 1)
    filters = 2 if options.get("bottleneck") is False else 8
    check_layer(
        lambda **more: ResidualBlock(2, **options, **more),
        (2, 7, 6, channels),
        (2, -(-7 // stride), 6 // stride, filters),
        weights=weights,
    )


def test_block_adds_its_input():
    """With all kernels zero only the input remains, after the activation."""
    block = ResidualBlock(1, bottleneck=False)
    x = images(1, 4, 4, 1)
    block(x)
    for convolution in (block.conv1, block.conv2):
        convolution.kernel.assign(tf.zeros_like(convolution.kernel))
    np.testing.assert_array_equal(np.asarray(block(x)), np.maximum(x, 0))


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_saved(dtype, tmp_path):
    """A model around a backbone saves and loads; its configuration holds the arguments as they were given."""
    backbone = ResNet(50, (None, None, 4), 8, multi_grid=(1, 2, 1), filters=1, name="features", dtype=dtype)
    config = backbone.get_config()
    again = ResNet.from_config(json.loads(json.dumps(config)))
    assert without_ids(again.get_config()) == without_ids({**config, "multi_grid": [1, 2, 1]})
    assert again.dtype_policy.name == dtype
    assert (config["depth"], config["output_stride"], config["multi_grid"]) == (50, 8, (1, 2, 1))
    assert backbone.pixel_mean is None
    x = images(1, 33, 47, 4)
    features = backbone(x)
    assert {str(feature.dtype) for feature in features.values()} == {f"<dtype: '{dtype.split('_')[-1]}'>"}
    image = keras.Input((None, None, 4))
    model = keras.Model(image, backbone(image)["P5"])
    check_saved(model, x, tmp_path / "model.keras")


def test_every_weight_learns():
    backbone = ResNet(50, output_stride=16, filters=2)
    x = images(2, 65, 65, 3)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(backbone(x, training=True)["P5"] ** 2)
    gradients = tape.gradient(loss, [weight.value for weight in backbone.trainable_weights])
    for weight, gradient in zip(backbone.trainable_weights, gradients, strict=True):
        assert np.any(np.asarray(gradient) != 0), weight.path


def test_statistics():
    backbone = ResNet(18, filters=1)
    assert backbone.pixel_mean == (0.485, 0.456, 0.406)
    assert backbone.pixel_std == (0.229, 0.224, 0.225)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 20}, "depth must be one of 18, 34, 50, 101, 152; got 20"),
        ({"output_stride": 4}, "output_stride must be 8, 16 or 32; got 4"),
        ({"multi_grid": (1, 2)}, r"multi_grid must be 3 positive ints, one per block of the last stage; got \(1, 2\)"),
        ({"multi_grid": (1, 0, 1)}, "multi_grid must be 3 positive ints"),
        ({"multi_grid": (2, 1, 1)}, "multi_grid must begin with 1 for output_stride=32"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        ResNet(**arguments)
