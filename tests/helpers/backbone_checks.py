"""What every backbone must do, in one call."""

from __future__ import annotations

import json

import keras
import numpy as np
import tensorflow as tf

from tests.helpers.layer_checks import POLICIES, check_gradients, check_saved, without_ids


def check_backbone(make, path, size=(37, 33)):
    """Check a backbone: sizes, a traced call, precision policies, gradients of every weight, configuration, saving.

    Args:
        make: builds it, small and with `(None, None, channels)` as its input shape; takes `dtype`.
        path: of a file to save to.
        size: height and width of the images.
    """
    backbone = make()
    images = np.random.default_rng(0).normal(size=(2, *size, backbone.input_shape[-1])).astype("float32")
    features = backbone(images)
    assert list(features) == list(backbone.strides) == list(backbone.channels)
    for level, tensor in features.items():
        assert tensor.shape[-1] == backbone.channels[level]
        # Floor or ceiling at each halving: between size / stride - 1 and size / stride + 1.
        for pixels, whole in zip(tensor.shape[1:3], size, strict=True):
            assert abs(pixels - whole / backbone.strides[level]) < 1
    traced = tf.function(backbone, input_signature=[tf.TensorSpec([None, None, None, images.shape[-1]])])
    for level, tensor in traced(images).items():
        # The same arithmetic, fused differently: float32 noise relative to the largest feature.
        np.testing.assert_allclose(tensor, features[level], atol=1e-4 * np.abs(features[level]).max())
    for policy in POLICIES[1:]:
        mixed = make(dtype=policy)
        compute = keras.dtype_policies.get(policy).compute_dtype
        outputs = mixed(images)
        assert all(keras.backend.standardize_dtype(tensor.dtype) == compute for tensor in outputs.values())
        assert all(weight.dtype == "float32" for weight in mixed.weights)
        assert all(np.isfinite(np.asarray(tensor, "float32")).all() for tensor in outputs.values())
        assert mixed.get_config()["dtype"] != backbone.get_config()["dtype"]

    config = json.loads(json.dumps(backbone.get_config()))
    again = type(backbone).from_config(config)
    assert without_ids(json.loads(json.dumps(again.get_config()))) == without_ids(config)
    assert [w.shape for w in again.weights] == [w.shape for w in backbone.weights]

    deepest = list(features)[-1]
    image = keras.Input(backbone.input_shape[1:])
    model = keras.Model(image, backbone(image)[deepest])
    check_gradients(model, images)
    check_saved(model, images, path)
