"""The layer MaskNMS."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg.layers import MaskNMS
from kseg_ops import _library
from tests.helpers.layer_checks import POLICIES, check_config_round_trip


def batch(seed=0, batch=2, count=7, height=6, width=9):
    generator = np.random.default_rng(seed)
    masks = (generator.random((batch, count, 1, 1)) + generator.random((batch, count, height, width))) / 2
    scores = generator.uniform(0.1, 1, (batch, count))
    classes = generator.integers(-1, 2, (batch, count))
    return masks.astype("float32"), scores.astype("float32"), classes.astype("int32")


@pytest.mark.parametrize("kind", ["hard", "soft", "matrix"])
@pytest.mark.parametrize("policy", POLICIES)
def test_equals_the_op_image_by_image(kind, policy):
    masks, scores, classes = batch()
    layer = MaskNMS(5, 0.3, kind, score_threshold=0.2, sigma=0.4, mask_threshold=0.6, dtype=policy)
    kept = layer([masks, scores, classes])
    assert kept["scores"].dtype == tf.float32
    assert kept["masks"].dtype == tf.float32
    for image in range(2):
        alone = kseg_ops.mask_nms(
            masks[image] > np.float32(0.6), scores[image], classes[image], 0.3, kind, 0.2, 5, sigma=0.4
        )
        valid = len(alone.indices)
        assert valid > 0
        indices = kept["indices"][image].numpy()
        np.testing.assert_array_equal(indices[:valid], alone.indices)
        assert (indices[valid:] == -1).all()
        np.testing.assert_array_equal(kept["scores"][image], np.pad(alone.scores, (0, 5 - valid)))
        np.testing.assert_array_equal(kept["masks"][image, :valid], masks[image][indices[:valid]])
        assert not kept["masks"][image, valid:].numpy().any()
        np.testing.assert_array_equal(kept["class_ids"][image, :valid], classes[image][indices[:valid]])
        assert (kept["class_ids"][image, valid:].numpy() == -1).all()


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "bfloat16"])
def test_masks_of_any_type_come_out_as_they_came(dtype):
    masks = tf.cast(batch()[0] > 0.5, dtype)
    kept = MaskNMS(7)([masks, batch()[1]])
    assert kept["masks"].dtype == dtype
    expected = MaskNMS(7)([tf.cast(masks, tf.float32), batch()[1]])
    np.testing.assert_array_equal(kept["indices"], expected["indices"])
    assert set(kept["class_ids"].numpy().ravel()) <= {0, -1}


def test_gradients_reach_the_masks_that_are_kept():
    masks, scores, _ = (tf.constant(array) for array in batch())
    with tf.GradientTape() as tape:
        tape.watch([masks, scores])
        kept = MaskNMS(3)([masks, scores])
        total = tf.reduce_sum(kept["masks"]) + tf.reduce_sum(kept["scores"])
    to_masks, to_scores = tape.gradient(total, [masks, scores])
    chosen = np.zeros((2, 7), "float32")
    for image, indices in enumerate(kept["indices"].numpy()):
        chosen[image, indices[indices >= 0]] = 1
    np.testing.assert_array_equal(to_masks, np.broadcast_to(chosen[:, :, None, None], masks.shape))
    assert to_scores is None


def test_in_a_functional_model_saved_and_loaded(tmp_path):
    inputs = [keras.Input((None, None, None)), keras.Input((None,)), keras.Input((None,), dtype="int32")]
    outputs = MaskNMS(4, kind="matrix", score_threshold=0.1)(inputs)
    assert {name: (value.shape, value.dtype) for name, value in outputs.items()} == {
        "masks": ((None, 4, None, None), "float32"),
        "scores": ((None, 4), "float32"),
        "class_ids": ((None, 4), "int32"),
        "indices": ((None, 4), "int32"),
    }
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "nms.keras")
    again = keras.models.load_model(tmp_path / "nms.keras")
    given = list(batch())
    direct = MaskNMS(4, kind="matrix", score_threshold=0.1)(given)
    for name, value in again.predict(given, verbose=0).items():
        np.testing.assert_array_equal(value, direct[name])


def test_configuration_and_jit():
    layer = MaskNMS(9, 0.25, "soft", 0.1, 0.7, 0.4)
    check_config_round_trip(layer)
    config = layer.get_config()
    names = ("max_output_size", "iou_threshold", "kind", "score_threshold", "sigma", "mask_threshold")
    assert [config[name] for name in names] == [9, 0.25, "soft", 0.1, 0.7, 0.4]
    assert layer.supports_jit == _library.jit_ready(("mask_nms",))


def test_no_masks_at_all():
    kept = MaskNMS(3)([np.zeros((2, 0, 4, 5), "float32"), np.zeros((2, 0), "float32")])
    assert (kept["indices"].numpy() == -1).all()
    assert kept["masks"].shape == (2, 3, 4, 5)
    assert not kept["masks"].numpy().any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MaskNMS(-1), "max_output_size must be in 0..268435456, got -1"),
        (lambda: MaskNMS(kind="fast"), "kind must be 'hard', 'soft' or 'matrix'"),
        (lambda: MaskNMS(sigma=0), "sigma must be a number in"),
        (lambda: MaskNMS(mask_threshold=float("nan")), "mask_threshold must be a number"),
        (lambda: MaskNMS()(keras.Input((2, 3, 4))), "takes a list of inputs"),
        (lambda: MaskNMS()([keras.Input((3, 4)), keras.Input((2,))]), r"masks must have shape \[B, N, H, W\]"),
        (lambda: MaskNMS()([keras.Input((2, 3, 4)), keras.Input((2, 1))]), r"scores must have shape \[B, N\]"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
