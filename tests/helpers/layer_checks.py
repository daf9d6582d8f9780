"""One call that checks what every layer and model must do."""

from __future__ import annotations

import json

import keras
import numpy as np
import tensorflow as tf

# Every policy that kseg promises to train under.
POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")


def check_layer(make, input_shapes, output_shape, *, weights=None, trainable=True, seed=0):
    """Check a layer from its configuration to a saved model.

    Args:
        make: builds the layer; takes keyword arguments such as `dtype`.
        input_shapes: the shape of its input with the batch, or a list of such shapes for a layer of several inputs.
        output_shape: the shape that it must give.
        weights: the number of trainable numbers that it must have, or None to leave this open.
        trainable: whether it has weights at all, each of which must receive a gradient.
        seed: of the random inputs.
    """
    several = isinstance(input_shapes, list)
    shapes = input_shapes if several else [input_shapes]
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=shape).astype("float32") for shape in shapes]
    inputs = arrays if several else arrays[0]

    check_config_round_trip(make())
    for policy in POLICIES:
        layer = make(dtype=policy)
        outputs = layer(inputs)
        assert tuple(outputs.shape) == tuple(output_shape)
        assert keras.backend.standardize_dtype(outputs.dtype) == layer.compute_dtype
        assert np.isfinite(np.asarray(tf.cast(outputs, tf.float32))).all()
        assert all(weight.dtype == "float32" for weight in layer.trainable_weights)

    layer = make()
    outputs = layer(inputs)
    assert tuple(layer.compute_output_shape(input_shapes)) == tuple(output_shape)
    if weights is not None:
        assert count(layer.trainable_weights) == weights
    assert bool(layer.trainable_weights) == trainable
    check_config_round_trip(layer)
    if trainable:
        check_gradients(layer, inputs)
    check_in_functional_model(layer, arrays, several)


def check_config_round_trip(layer):
    """The configuration is JSON and builds the same layer."""
    config = layer.get_config()
    again = type(layer).from_config(json.loads(json.dumps(config)))
    assert again.get_config() == json.loads(json.dumps(config)) or again.get_config() == config
    serialized = keras.saving.serialize_keras_object(layer)
    assert type(keras.saving.deserialize_keras_object(serialized)) is type(layer)


def check_gradients(model, inputs):
    """Every trainable weight gets a finite gradient, and not all zeros."""
    with tf.GradientTape() as tape:
        outputs = model(inputs, training=True)
        # A random direction: the sum alone is blind to what a following normalisation takes out.
        direction = tf.random.stateless_normal(tf.shape(outputs), seed=[1, 2], dtype=outputs.dtype)
        loss = tf.reduce_sum(outputs * direction)
    names = [weight.path for weight in model.trainable_weights]
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    for name, gradient in zip(names, gradients, strict=True):
        assert gradient is not None, f"{name} has no gradient"
        assert np.isfinite(gradient).all(), f"the gradient of {name} is not finite"
        assert np.any(np.asarray(gradient) != 0), f"the gradient of {name} is zero"


def check_in_functional_model(layer, arrays, several):
    """The layer works on inputs of unknown height and width, and its model gives the same after saving."""
    inputs = [keras.Input((None, None, array.shape[-1])) for array in arrays]
    inputs = inputs if several else inputs[0]
    model = keras.Model(inputs, layer(inputs))
    direct = layer(arrays if several else arrays[0])
    through = model(arrays if several else arrays[0])
    np.testing.assert_array_equal(np.asarray(through), np.asarray(direct))
    again = keras.Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(np.asarray(again(arrays if several else arrays[0])), np.asarray(direct))


def check_saved(model, images, path):
    """A model saved and loaded without custom objects gives the same outputs; it stays compiled or uncompiled."""
    model.save(path)
    again = keras.models.load_model(path)
    np.testing.assert_array_equal(np.asarray(again(images)), np.asarray(model(images)))
    assert again.compiled == model.compiled
    return again


def count(weights):
    """The number of numbers in a list of weights."""
    return int(sum(np.prod(weight.shape) for weight in weights))


def without_ids(config):
    """A configuration without the addresses that Keras writes into serialised objects."""
    if isinstance(config, dict):
        return {key: without_ids(value) for key, value in config.items() if key != "shared_object_id"}
    return config
