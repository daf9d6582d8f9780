"""What every segmentation model must do, in one call."""

from __future__ import annotations

import json

import keras
import numpy as np
import tensorflow as tf

from tests.helpers.layer_checks import check_gradients, check_saved, without_ids


def uint8_images(*shape, seed=0):
    """Random images."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype="uint8")


def check_model(make, path, sizes=((33, 29), (20, 48)), channels=(3, 1), num_classes=3):
    """Check a model: sizes, channels, precision policies, gradients, configuration, saving, unknown sizes, a step.

    Args:
        make: builds it, small, for `num_classes`; takes `input_shape` and `dtype`.
        path: of a file to save to.
        sizes: heights and widths of the images.
        channels: numbers of channels of the images.
        num_classes: what it is built for.
    """
    model = make()
    for size in sizes:
        logits = model(uint8_images(2, *size, 3))
        assert logits.shape == (2, *size, num_classes)
        assert logits.dtype == tf.float32
    for count in channels:
        other = make(input_shape=(None, None, count))
        assert other(uint8_images(1, *sizes[0], count)).shape == (1, *sizes[0], num_classes)
    images = uint8_images(2, *sizes[0], 3)
    for policy in ("mixed_bfloat16", "mixed_float16"):
        mixed = make(dtype=policy)
        logits = mixed(images)
        assert logits.dtype == tf.float32
        assert np.isfinite(logits).all()
        assert mixed.dtype_policy.name == policy
        assert keras.config.dtype_policy().name == "float32"

    config = json.loads(json.dumps(model.get_config()))
    again = type(model).from_config(config)
    assert without_ids(json.loads(json.dumps(again.get_config()))) == without_ids(config)
    assert not again.compiled
    check_gradients(model, images)
    loaded = check_saved(model, images, path)
    assert without_ids(json.loads(json.dumps(loaded.get_config()))) == without_ids(config)

    traced = tf.function(model, input_signature=[tf.TensorSpec([None, None, None, 3])])
    # The same arithmetic, fused differently: float32 noise relative to the largest logit.
    expected = np.asarray(model(images))
    np.testing.assert_allclose(traced(images.astype("float32")), expected, atol=1e-4 * np.abs(expected).max())

    labels = np.random.default_rng(1).integers(0, num_classes, images.shape[:3])
    labels[:, 0] = 255
    model.compile(model.optimizer, model.loss, run_eagerly=True)  # tracing a step of a deep network takes long
    before = [np.array(weight) for weight in model.trainable_weights]
    assert np.isfinite(model.train_on_batch(images, labels)[0])
    moved = [not np.array_equal(a, b) for a, b in zip(before, model.trainable_weights, strict=True)]
    assert all(moved)
