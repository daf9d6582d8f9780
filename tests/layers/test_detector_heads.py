"""The pyramid and the heads of detectors."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.layers import BoxHead, FeaturePyramid, MaskHead, PadToStride, RPNHead
from tests.helpers.layer_checks import POLICIES, check_config_round_trip, count

RNG = np.random.default_rng(0)


def pyramid_of(channels=4, **levels):
    return {level: RNG.normal(size=(2, *size, channels)).astype("float32") for level, size in levels.items()}


def identity(layer, channels):
    """A convolution that changes nothing."""
    kernel = np.zeros(layer.kernel.shape, "float32")
    kernel[tuple(size // 2 for size in kernel.shape[:2])] = np.eye(channels)
    layer.kernel.assign(kernel)


def test_levels_are_added():
    layer = FeaturePyramid(4)
    maps = pyramid_of(P3=(4, 6), P4=(2, 3))
    layer.build({level: value.shape for level, value in maps.items()})
    for convolution in (*layer.lateral, *layer.outputs):
        identity(convolution, 4)
    layer.outputs[0].bias.assign([1.0, 2, 3, 4])
    found = layer(maps)
    assert list(found) == ["P3", "P4", "P5"]
    repeated = maps["P4"].repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_allclose(found["P3"], maps["P3"] + repeated + [1, 2, 3, 4], rtol=1e-6)
    np.testing.assert_allclose(found["P4"], maps["P4"], rtol=1e-6)
    np.testing.assert_allclose(found["P5"], maps["P4"][:, ::2, ::2], rtol=1e-6)


@pytest.mark.parametrize("norm", [None, "batch"])
def test_pyramid(norm):
    maps = pyramid_of(P2=(8, 8), P3=(4, 4))
    layer = FeaturePyramid(6, norm=norm, extra_level=False)
    check_config_round_trip(layer)
    shapes = {level: tuple(value.shape) for level, value in layer(maps).items()}
    assert shapes == {"P2": (2, 8, 8, 6), "P3": (2, 4, 4, 6)}
    assert layer.compute_output_shape({level: value.shape for level, value in maps.items()}) == shapes
    last = 6 if norm is None else 12  # a bias, or a factor and an offset
    assert count(layer.trainable_weights) == 2 * (4 * 6 + last + 9 * 36 + last)
    assert not np.array_equal(layer.outputs[0].kernel, layer.outputs[1].kernel)
    for policy in POLICIES:
        mixed = FeaturePyramid(6, norm=norm, dtype=policy)
        outputs = mixed({level: tf.cast(value, mixed.compute_dtype) for level, value in maps.items()})
        assert {value.dtype.name for value in outputs.values()} == {mixed.compute_dtype}


def test_rpn_head_is_shared_by_levels():
    features = pyramid_of(P2=(4, 4))["P2"]
    layer = RPNHead(anchors=3, depth=2)
    check_config_round_trip(layer)
    objectness, deltas = layer({"P2": features, "P3": features})
    assert objectness["P2"].shape == (2, 4, 4, 3)
    assert deltas["P2"].shape == (2, 4, 4, 12)
    np.testing.assert_array_equal(objectness["P2"], objectness["P3"])
    assert count(layer.trainable_weights) == 2 * (9 * 16 + 4) + 4 * 3 + 3 + 4 * 12 + 12
    # By hand, of the 1 x 1 convolutions: the order of anchors and coordinates is that of the channels.
    hidden = features
    for convolution in layer.convolutions:
        hidden = np.maximum(convolution(hidden), 0)
    expected = hidden @ layer.deltas.kernel.numpy()[0, 0] + layer.deltas.bias.numpy()
    np.testing.assert_allclose(deltas["P2"], expected, atol=1e-6)


def test_rpn_head_in_a_functional_model():
    inputs = {level: keras.Input((None, None, 4), name=level) for level in ("P2", "P3")}
    model = keras.Model(inputs, RPNHead(dtype="mixed_bfloat16")(inputs))
    objectness, deltas = model(pyramid_of(P2=(4, 4), P3=(2, 2)))
    assert objectness["P3"].dtype == tf.float32
    assert deltas["P3"].shape == (2, 2, 2, 12)
    with pytest.raises(ValueError, match=r"inputs must have equally many channels on every level; got \[4, 5\]"):
        RPNHead()({"P2": np.zeros((1, 4, 4, 4)), "P3": np.zeros((1, 2, 2, 5))})


def test_box_head_by_hand():
    layer = BoxHead(2, units=(5,))
    check_config_round_trip(layer)
    features = RNG.normal(size=(2, 3, 2, 2, 4)).astype("float32")
    logits, deltas = layer(features)
    hidden = np.maximum(features.reshape(6, 16) @ layer.dense[0].kernel.numpy() + layer.dense[0].bias.numpy(), 0)
    np.testing.assert_allclose(logits, (hidden @ layer.logits.kernel.numpy()).reshape(2, 3, 3), atol=1e-5)
    np.testing.assert_allclose(deltas, (hidden @ layer.deltas.kernel.numpy()).reshape(2, 3, 3, 4), atol=1e-5)


@pytest.mark.parametrize("policy", POLICIES)
def test_box_head(policy):
    layer = BoxHead(2, (6, 6), (5,), norm="batch", dtype=policy)
    check_config_round_trip(layer)
    outputs = keras.Model(inputs := keras.Input((None, 3, 3, 4)), layer(inputs))(np.ones((2, 5, 3, 3, 4), "float32"))
    assert [tuple(value.shape) for value in outputs] == [(2, 5, 3), (2, 5, 3, 4)]
    assert [tuple(shape) for shape in layer.compute_output_shape((2, 5, 3, 3, 4))] == [(2, 5, 3), (2, 5, 3, 4)]
    assert {value.dtype.name for value in outputs} == {"float32"}
    convolutions = 9 * 4 * 6 + 12 + 9 * 36 + 12
    assert count(layer.trainable_weights) == convolutions + 54 * 5 + 5 + 5 * 3 + 3 + 5 * 12 + 12


def test_masks_are_those_of_the_classes():
    layer = MaskHead(3, (5,), 6)
    check_config_round_trip(layer)
    features = RNG.normal(size=(2, 3, 4, 4, 4)).astype("float32")
    classes = np.array([[0, 2, 1], [1, -1, 2]])
    masks = layer(features, classes)
    assert masks.shape == (2, 3, 8, 8)
    hidden = layer.upsampling(layer.convolutions[0](features.reshape(6, 4, 4, 4)))
    every = layer.logits(hidden).numpy().reshape(2, 3, 8, 8, 4)
    channels = np.maximum(classes, 0) + 1
    expected = np.take_along_axis(every, channels[:, :, None, None, None], axis=-1)[..., 0]
    np.testing.assert_allclose(masks, expected, atol=1e-5)


@pytest.mark.parametrize("policy", POLICIES)
def test_mask_head(policy):
    layer = MaskHead(3, (5, 5), 6, norm="batch", dtype=policy)
    inputs = [keras.Input((None, 4, 4, 4)), keras.Input((None,), dtype="int32")]
    model = keras.Model(inputs, layer(*inputs))
    found = model([np.ones((2, 3, 4, 4, 4), "float32"), np.zeros((2, 3), "int32")])
    assert found.dtype == tf.float32
    assert found.shape == (2, 3, 8, 8)
    assert count(layer.trainable_weights) == 9 * 20 + 10 + 9 * 25 + 10 + 4 * 30 + 6 + 6 * 4 + 4


def test_every_class_learns_from_its_own_masks():
    layer = MaskHead(2, (4,), 4)
    features = RNG.normal(size=(1, 2, 4, 4, 4)).astype("float32")
    layer(features, np.zeros((1, 2), "int32"))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(features, np.array([[1, 1]])))
    gradient = tf.convert_to_tensor(tape.gradient(total, layer.logits.kernel.value)).numpy()[0, 0]
    assert gradient[:, 2].any()
    assert not gradient[:, :2].any()


def test_padding_with_a_number():
    image = np.ones((1, 3, 4, 2), "float32")
    padded = PadToStride(4, value=0)(image)
    np.testing.assert_array_equal(padded, np.pad(image, [[0, 0], [0, 1], [0, 0], [0, 0]]))
    check_config_round_trip(PadToStride(4, value=0))
    with pytest.raises(ValueError, match="value must be a number or None; got 'edge'"):
        PadToStride(4, value="edge")


def test_refusals():
    with pytest.raises(ValueError, match="filters must be a positive int; got 0"):
        FeaturePyramid(0)
    with pytest.raises(ValueError, match="norm must be \"batch\" or None; got 'group'"):
        FeaturePyramid(8, norm="group")
    with pytest.raises(ValueError, match="anchors must be a positive int; got 0"):
        RPNHead(0)
    with pytest.raises(ValueError, match="every one of units must be a positive int; got 0"):
        BoxHead(2, units=(0,))
    with pytest.raises(ValueError, match="inputs must have known height, width and channels"):
        BoxHead(2)(keras.Input((None, None, 7, 4)))
    with pytest.raises(ValueError, match="num_classes must be a positive int; got 0"):
        MaskHead(0)
