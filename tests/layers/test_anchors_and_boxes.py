"""Anchors and the arithmetic of boxes, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from kseg.layers import AnchorGenerator, _boxes
from tests.helpers.layer_checks import POLICIES, check_config_round_trip


def maps(**sizes):
    return {level: np.zeros((1, *size, 4), "float32") for level, size in sizes.items()}


def test_shapes_of_anchors():
    # 32 / sqrt(0.5) = 45.25 wide and 22.63 high, half of each rounded; then the square; then the upright one.
    anchors = AnchorGenerator((32,))((np.zeros((1, 4, 4, 3)), maps(P2=(1, 1))))["P2"]
    np.testing.assert_array_equal(anchors, [[-23, -11, 23, 11], [-16, -16, 16, 16], [-11, -23, 11, 23]])


def test_sizes_of_one_ratio_come_one_after_the_other():
    layer = AnchorGenerator(((8, 16),), aspect_ratios=(1.0, 4.0))
    assert layer.per_position == 4
    anchors = layer((np.zeros((1, 4, 4, 3)), maps(P2=(1, 1))))["P2"]
    np.testing.assert_array_equal(anchors, [[-4, -4, 4, 4], [-8, -8, 8, 8], [-2, -8, 2, 8], [-4, -16, 4, 16]])


def test_positions_go_by_rows():
    anchors = AnchorGenerator((2,), (1.0,))((np.zeros((1, 8, 12, 3)), maps(P2=(2, 3))))["P2"]
    np.testing.assert_array_equal(anchors[:, :2], [[-1, -1], [3, -1], [7, -1], [-1, 3], [3, 3], [7, 3]])


def test_strides_are_the_quotients_of_the_sizes():
    found = AnchorGenerator((2, 2), (1.0,))((np.zeros((1, 96, 128, 3)), maps(P5=(3, 4), P6=(2, 2))))
    assert found["P5"][1, 0] - found["P5"][0, 0] == 32
    np.testing.assert_array_equal(found["P6"], [[-1, -1, 1, 1], [63, -1, 65, 1], [-1, 47, 1, 49], [63, 47, 65, 49]])


def test_sizes_known_at_run_time_only():
    layer = AnchorGenerator((4, 8))

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([None, None, None, 4])])
    def traced(images, features):
        return layer((images, {"P2": features, "P3": features[:, ::2, ::2]}))

    images, features = np.zeros((2, 20, 12, 3), "float32"), np.zeros((2, 5, 3, 4), "float32")
    expected = layer((images, {"P2": features, "P3": features[:, ::2, ::2]}))
    for level, anchors in traced(images, features).items():
        np.testing.assert_array_equal(anchors, expected[level])
    assert expected["P2"].shape == (45, 4)


@pytest.mark.parametrize("policy", POLICIES)
def test_configuration_and_precision(policy):
    layer = AnchorGenerator((700,), (1.0,), dtype=policy)
    check_config_round_trip(layer)
    anchors = layer((np.zeros((1, 4, 4012, 3)), maps(P2=(1, 1003))))["P2"]
    assert anchors.dtype == tf.float32
    assert anchors[1002, 0] == 1002 * 4 - 350  # bfloat16 knows multiples of 16 there


def test_refusals():
    with pytest.raises(ValueError, match=r"sizes must hold a number, or several, for each level; got \(\)"):
        AnchorGenerator(())
    with pytest.raises(ValueError, match="sizes must be positive numbers; got"):
        AnchorGenerator((32, -1))
    with pytest.raises(ValueError, match="sizes must hold equally many numbers for each level"):
        AnchorGenerator(((1, 2), (3,)))
    with pytest.raises(ValueError, match="aspect_ratios must be positive numbers; got 'x'"):
        AnchorGenerator((32,), "x")
    with pytest.raises(ValueError, match="features must have as many levels as sizes, 1; got P2, P3"):
        AnchorGenerator((32,))((np.zeros((1, 8, 8, 3)), maps(P2=(2, 2), P3=(1, 1))))


def test_encoding():
    # The centre moves from (5, 10) to (10, 10), half a width; the height halves.
    found = _boxes.encode(tf.constant([5.0, 5, 15, 15]), tf.constant([0.0, 0, 10, 20]), (10, 10, 5, 5))
    np.testing.assert_allclose(found, [5, 0, 0, -5 * math.log(2)], rtol=1e-6)


def test_decoding_undoes_encoding():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 90, (2, 50, 2, 2)).astype("float32")
    boxes, references = np.concatenate([corners.min(2), corners.max(2) + 1], axis=-1)
    found = _boxes.decode(_boxes.encode(boxes, references, (10, 10, 5, 5)), references, (10, 10, 5, 5))
    np.testing.assert_allclose(found, boxes, atol=100 * 8 * np.finfo("float32").eps)


def test_decoded_boxes_grow_so_much_and_no_more():
    box = _boxes.decode(tf.constant([0.0, 0, 50, 0]), tf.constant([0.0, 0, 16, 2]), (1, 1, 1, 1))
    np.testing.assert_allclose(box, [8 - 500, 0, 8 + 500, 2], rtol=1e-5)


def test_clipping():
    boxes = tf.constant([[[-5.0, -5, 30, 30]], [[2.0, 3, 30, 30]]])
    np.testing.assert_array_equal(
        _boxes.clip(boxes, tf.constant([[10, 20], [7, 8]])), [[[0, 0, 20, 10]], [[2, 3, 8, 7]]]
    )
    by_class = _boxes.clip(boxes[:, :, None], tf.constant([[10, 20], [7, 8]]))
    np.testing.assert_array_equal(by_class[:, :, 0], [[[0, 0, 20, 10]], [[2, 3, 8, 7]]])


def test_common_areas():
    first = tf.constant([[[0.0, 0, 10, 10], [20.0, 20, 30, 30]]])
    second = tf.constant([[[5.0, 5, 15, 15], [10.0, 0, 20, 10], [22.0, 23, 24, 26]]])
    sides = [np.moveaxis(one, -1, 0) for one in (first[:, :, None], second[:, None])]
    np.testing.assert_array_equal(_boxes.common_areas(*sides), [[[25, 0, 0], [0, 0, 6]]])


def test_rounded_boxes_are_refused():
    with pytest.raises(TypeError, match="boxes must be float32, got bfloat16"):
        _boxes.as_float32(tf.zeros([2, 4], tf.bfloat16))
