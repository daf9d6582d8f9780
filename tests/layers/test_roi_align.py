"""RoIAlign and MultilevelRoIAlign as layers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg.layers import MultilevelRoIAlign, RoIAlign
from kseg_ops import _library
from tests.helpers.layer_checks import POLICIES, check_config_round_trip, check_saved

BOXES = np.array([[[1, 2, 30, 20.3], [0, 0, 0, 0]], [[np.nan, 0, 9, 9], [5, 5, 250.3, 240]]], np.float32)


def pyramid(channels=3):
    generator = np.random.default_rng(0)
    return {
        f"P{level}": generator.normal(size=(2, 256 >> level, 256 >> level, channels)).astype(np.float32)
        for level in (4, 2, 3)
    }


def make_inputs(kind, features, boxes):
    return [features["P2"], boxes] if kind is RoIAlign else (features, boxes)


def make_layer(kind, **kwargs):
    return RoIAlign((3, 2), spatial_scale=0.25, **kwargs) if kind is RoIAlign else MultilevelRoIAlign((3, 2), **kwargs)


def direct(kind, features, boxes):
    if kind is MultilevelRoIAlign:
        return kseg_ops.multilevel_roi_align(features, boxes, (3, 2))
    pooled = kseg_ops.roi_align(features["P2"], boxes.reshape(-1, 4), [0, 0, 1, 1], (3, 2), 0.25)
    return tf.reshape(pooled, [2, 2, 3, 2, -1])


KINDS = pytest.mark.parametrize("kind", [RoIAlign, MultilevelRoIAlign])


@KINDS
def test_equals_the_op_under_every_policy(kind):
    """Under mixed precision the features are rounded, and the boxes are not: 250.3 would be 250 in bfloat16."""
    features = pyramid()
    for policy in POLICIES:
        layer = make_layer(kind, dtype=policy)
        pooled = layer(make_inputs(kind, features, BOXES))
        assert keras.backend.standardize_dtype(pooled.dtype) == layer.compute_dtype
        rounded = {name: tf.cast(level, layer.compute_dtype) for name, level in features.items()}
        np.testing.assert_array_equal(tf.cast(pooled, tf.float32), tf.cast(direct(kind, rounded, BOXES), tf.float32))
        np.testing.assert_array_equal(tf.cast(pooled, tf.float32)[1, 0], np.zeros((3, 2, 3)))  # the box with a NaN


@KINDS
def test_configuration(kind):
    check_config_round_trip(make_layer(kind))
    layer = make_layer(kind, sampling_ratio=0, aligned=False)
    check_config_round_trip(layer)
    assert layer.get_config()["output_size"] == (3, 2)
    other = MultilevelRoIAlign(7, canonical_size=100.5, canonical_level=3)
    again = MultilevelRoIAlign.from_config(other.get_config())
    assert (again.canonical_size, again.canonical_level, again.output_size) == (100.5, 3, 7)


@KINDS
def test_in_a_functional_model_of_unknown_sizes(kind, tmp_path):
    features = {name: keras.Input((None, None, 3), name=name) for name in ("P2", "P3", "P4")}
    boxes = keras.Input((None, 4), name="boxes")
    used = features if kind is MultilevelRoIAlign else {"P2": features["P2"]}
    pooled = make_layer(kind)(make_inputs(kind, features, boxes))
    assert pooled.shape == (None, None, 3, 2, 3)
    outputs = keras.layers.TimeDistributed(keras.layers.Flatten())(pooled)
    model = keras.Model({**used, "boxes": boxes}, keras.layers.Dense(2)(outputs))
    arrays = {name: pyramid()[name] for name in used}
    model.compile(optimizer="sgd", loss="mse")
    model.fit({**arrays, "boxes": np.nan_to_num(BOXES)}, np.zeros((2, 2, 2)), verbose=0)
    check_saved(model, {**arrays, "boxes": BOXES}, tmp_path / "model.keras")


@KINDS
def test_gradients_reach_the_features_only(kind):
    features = {name: tf.constant(level) for name, level in pyramid().items()}
    boxes = tf.constant([[[1.0, 2, 30, 20], [0, 0, 150, 150]]] * 2)  # P2 and P3
    with tf.GradientTape() as tape:
        tape.watch([features, boxes])
        pooled = make_layer(kind)(make_inputs(kind, features, boxes))
        loss = tf.reduce_sum(pooled)
    gradients, of_boxes = tape.gradient(loss, [features, boxes])
    assert of_boxes is None
    assert np.any(gradients["P2"])
    if kind is MultilevelRoIAlign:
        assert np.any(gradients["P3"])
        np.testing.assert_array_equal(gradients["P4"], np.zeros((2, 16, 16, 3)))


@KINDS
def test_output_shapes(kind):
    features = (None, None, None, 8)
    shape = [features, (None, 5, 4)] if kind is RoIAlign else ({"P3": features, "P4": (7, 9, 9, None)}, (None, 5, 4))
    batch = None if kind is RoIAlign else 7
    assert make_layer(kind).compute_output_shape(shape) == (batch, 5, 3, 2, 8)


@KINDS
def test_no_boxes_and_no_images(kind):
    features = pyramid()
    assert make_layer(kind)(make_inputs(kind, features, BOXES[:, :0])).shape == (2, 0, 3, 2, 3)
    none = {name: level[:0] for name, level in features.items()}
    assert make_layer(kind)(make_inputs(kind, none, BOXES[:0])).shape == (0, 2, 3, 2, 3)


@KINDS
def test_jit_is_declared_where_it_works(kind):
    name = "roi_align" if kind is RoIAlign else "multilevel_roi_align"
    assert make_layer(kind).supports_jit == _library.jit_ready((name,))
    with kseg_ops.use_reference():
        layer = make_layer(kind)
        assert layer.supports_jit
        features, boxes = pyramid(), np.nan_to_num(BOXES)
        compiled = tf.function(lambda inputs: layer(inputs), jit_compile=True)
        pooled = compiled(make_inputs(kind, {name: tf.constant(level) for name, level in features.items()}, boxes))
        # XLA may contract positions of up to 63 pixels, which moves them and with them the weights by an ulp; the step
        # between two normal numbers is below 10.
        eager = layer(make_inputs(kind, features, boxes))
    np.testing.assert_allclose(pooled, eager, rtol=0, atol=4 * 10 * 64 * np.finfo(np.float32).eps)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: RoIAlign(0), ValueError, "output_size must be in 1..1048576, got 0"),
        (lambda: RoIAlign(7, spatial_scale=0), ValueError, "spatial_scale must be positive"),
        (lambda: RoIAlign(7, sampling_ratio=-1), ValueError, "sampling_ratio must be in 0..128, got -1"),
        (lambda: MultilevelRoIAlign(2.5), TypeError, "output_size must be an integer, got 2.5"),
        (lambda: MultilevelRoIAlign(7, canonical_size=0), ValueError, "canonical_size must be in 1..1048576 pixels"),
        (lambda: MultilevelRoIAlign(7, canonical_level=31), ValueError, "canonical_level must be in 0..30, got 31"),
        (
            lambda: RoIAlign(7)([keras.Input((4, 4, 3)), keras.Input((4,))]),
            ValueError,
            r"boxes must have shape \(B, N, 4\), got \(None, 4\)",
        ),
        (
            lambda: MultilevelRoIAlign(7)(({"C2": keras.Input((4, 4, 3))}, keras.Input((2, 4)))),
            ValueError,
            'features must have keys "P0" to "P30".*got \'C2\'',
        ),
        (
            lambda: MultilevelRoIAlign(7)(({"P2": keras.Input((4, 4))}, keras.Input((2, 4)))),
            ValueError,
            r"features must have shape \(B, H, W, C\) on every level, got \(None, 4, 4\)",
        ),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_wrong_forms_are_named():
    features = tf.zeros([1, 4, 4, 2])
    with pytest.raises(ValueError, match=r"boxes must have shape \(B, N, 4\), got \(3, 4\)"):
        RoIAlign(2)([features, tf.zeros([3, 4])])
    with pytest.raises(TypeError, match=r"features must be a dict from level to feature map.* got list"):
        MultilevelRoIAlign(2)([[features], tf.zeros([1, 3, 4])])
