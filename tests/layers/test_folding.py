"""Batch normalisation by the fused op: what Keras's layer gives."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.layers import _folding

EPS = {"float32": 2.0**-23, "mixed_float16": 2.0**-10, "mixed_bfloat16": 2.0**-7, "float64": 2.0**-23}


@pytest.mark.parametrize("policy", EPS)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_training_as_keras(policy, jit_compile):
    """Value, gradients and moving averages; also where a channel has one value only, whose variance is 0."""
    for shape in ((2, 5, 4, 3), (1, 1, 1, 3)):
        rng = np.random.default_rng(0)
        layers = [keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype=policy) for _ in range(2)]
        for layer in layers:
            layer.build((None, None, None, 3))
            layer.gamma.assign([1.0, -2.0, 0.5])
            layer.beta.assign([0.0, 1.0, 2.0])
        x = tf.cast(rng.normal(3, 2, shape), layers[0].compute_dtype)
        direction = tf.cast(rng.normal(size=shape), x.dtype)

        @tf.function(jit_compile=jit_compile)
        def step(call, layer, x, direction):
            with tf.GradientTape() as tape:
                tape.watch(x)
                outputs = call(layer, x)
                loss = tf.reduce_sum(tf.cast(outputs * direction, tf.float32))
            return [outputs, *tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])]

        calls = [lambda layer, x: layer(x, training=True), _folding.normalize_batch]
        results = [step(call, layer, x, direction) for call, layer in zip(calls, layers, strict=True)]
        theirs, ours = (
            [np.asarray(tf.cast(value, tf.float64)) for value in (*result, *layer.non_trainable_weights)]
            for result, layer in zip(results, layers, strict=True)
        )
        assert results[1][0].dtype == x.dtype
        for mine, other in zip(ours, theirs, strict=True):
            # Sums over at most 40 values of order 10, in another order.
            np.testing.assert_allclose(mine, other, rtol=8 * EPS[policy], atol=400 * EPS["float32"] + 8 * EPS[policy])


def test_normalize():
    """Frozen or at inference: stored statistics."""
    layer = keras.layers.BatchNormalization()
    x = tf.random.stateless_normal((2, 4, 4, 3), seed=[0, 1])
    layer.build(x.shape)
    stored = layer(x, training=False)
    np.testing.assert_array_equal(_folding.normalize(layer, x, False), stored)
    layer.trainable = False
    np.testing.assert_array_equal(_folding.normalize(layer, x, True), stored)
    layer.trainable = True
    assert np.abs(np.mean(_folding.normalize(layer, x, True), (0, 1, 2))).max() < 1e-5
