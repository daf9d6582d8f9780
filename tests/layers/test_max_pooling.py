"""MaxPoolingWithIndices2D and MaxUnpooling2D: alone, together in a small SegNet, saved, and under mixed precision."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg.layers import MaxPoolingWithIndices2D, MaxUnpooling2D
from tests.helpers.layer_checks import POLICIES, check_config_round_trip, check_saved


def images(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        ({}, (3, 2)),
        ({"padding": "same"}, (4, 3)),
        ({"pool_size": (3, 2), "strides": (1, 2), "padding": "valid"}, (5, 2)),
    ],
)
@pytest.mark.parametrize("policy", POLICIES)
def test_pooling(arguments, size, policy):
    x = images(2, 7, 5, 3)
    layer = MaxPoolingWithIndices2D(**arguments, dtype=policy)
    pooled, indices = layer(x)
    assert keras.backend.standardize_dtype(pooled.dtype) == layer.compute_dtype
    assert keras.backend.standardize_dtype(indices.dtype) == "int32"
    assert layer.compute_output_shape(x.shape) == ((2, *size, 3),) * 2 == (pooled.shape, indices.shape)
    assert layer.compute_output_shape((None, None, None, 3)) == ((None, None, None, 3),) * 2
    check_config_round_trip(layer)
    stock = keras.layers.MaxPooling2D(
        layer.pool_size if arguments else 2, arguments.get("strides"), arguments.get("padding", "valid"), dtype=policy
    )
    np.testing.assert_array_equal(tf.cast(pooled, tf.float32), tf.cast(stock(x), tf.float32))


@pytest.mark.parametrize("policy", POLICIES)
def test_unpooling_inverts_pooling_of_odd_sizes(policy):
    x = images(2, 7, 5, 3)
    pooled, indices = MaxPoolingWithIndices2D(padding="same", dtype=policy)(x)
    layer = MaxUnpooling2D(padding="same", dtype=policy)
    unpooled = layer([pooled, indices, x])
    assert unpooled.shape == x.shape == layer.compute_output_shape([pooled.shape, indices.shape, x.shape])
    assert keras.backend.standardize_dtype(unpooled.dtype) == layer.compute_dtype
    kept = np.asarray(unpooled) != 0
    assert kept.sum() == np.asarray(pooled).size
    np.testing.assert_array_equal(np.asarray(unpooled)[kept], np.asarray(tf.cast(x, unpooled.dtype))[kept])
    check_config_round_trip(layer)


def test_sizes_without_a_reference():
    features, indices = np.ones((1, 3, 2, 1), "float32"), np.zeros((1, 3, 2, 1), "int32")
    for arguments, size in (
        ({}, (6, 4)),
        ({"pool_size": 3, "strides": 2}, (7, 5)),
        ({"pool_size": 3, "strides": 2, "padding": "same"}, (6, 4)),
        ({"pool_size": (1, 2)}, (3, 4)),
    ):
        layer = MaxUnpooling2D(**arguments)
        assert layer([features, indices]).shape == (1, *size, 1)
        assert layer.compute_output_shape([features.shape, indices.shape]) == (1, *size, 1)


def small_segnet(channels=4):
    inputs = keras.Input((None, None, 2))
    encoded = keras.layers.Conv2D(channels, 3, padding="same")(inputs)
    pooled, indices = MaxPoolingWithIndices2D(padding="same")(encoded)
    assert indices.dtype == "int32"
    middle = keras.layers.Conv2D(channels, 3, padding="same")(pooled)
    decoded = MaxUnpooling2D(padding="same")([middle, indices, encoded])
    assert decoded.shape == (None, None, None, channels)
    return keras.Model(inputs, keras.layers.Conv2D(3, 1)(decoded))


@pytest.mark.parametrize("policy", POLICIES)
def test_a_small_segnet_trains_and_is_saved(policy, tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = small_segnet()
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        x, y = images(4, 9, 7, 2), np.random.default_rng(1).integers(0, 3, (4, 9, 7))
        weights = [np.array(weight) for weight in model.trainable_weights]
        history = model.fit(x, y, verbose=0)
        assert np.isfinite(history.history["loss"]).all()
        assert all(not np.array_equal(a, b) for a, b in zip(weights, model.trainable_weights, strict=True))
        check_saved(model, x, tmp_path / "segnet.keras")
    finally:
        keras.config.set_dtype_policy(before)


def test_the_references_train_under_xla():
    with kseg_ops.use_reference():
        model = small_segnet()
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=True)
        x, y = images(4, 8, 8, 2), np.zeros((4, 8, 8), "int32")
        assert np.isfinite(model.train_on_batch(x, y))


@pytest.mark.parametrize("layer", [MaxPoolingWithIndices2D, MaxUnpooling2D])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"pool_size": 0}, ValueError, "pool_size must be at least 1; got 0"),
        ({"pool_size": 2.0}, TypeError, "pool_size must be of integers; got 2.0"),
        ({"strides": (1, 2, 3)}, ValueError, r"strides must be an int or \(height, width\); got \(1, 2, 3\)"),
        ({"padding": "full"}, ValueError, 'padding must be "same" or "valid", got \'full\''),
    ],
)
def test_bad_arguments(layer, arguments, error, message):
    with pytest.raises(error, match=message):
        layer(**arguments)


def test_unpooling_says_how_many_inputs_it_takes():
    with pytest.raises(ValueError, match=r"two inputs, \[features, indices\], or three, .*; got 1"):
        MaxUnpooling2D()([images(1, 2, 2, 1)])
