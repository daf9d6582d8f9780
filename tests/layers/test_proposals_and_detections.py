"""Proposals and detections, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg.layers import DetectionPostprocess, ProposalLayer
from kseg_ops import _library
from tests.helpers.layer_checks import POLICIES, check_config_round_trip

ANCHORS = {
    "P2": np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10], [90, 0, 110, 10]], "float32"),
    "P3": np.array([[0, 0, 10, 10]], "float32"),
}
LOGITS = {
    "P2": np.array([[[[1.0, 2.0, 3.0, 0.0]]]], "float32"),
    "P3": np.array([[[[-1.0]]]], "float32"),
}


def proposals(layer, sizes=((100, 100),), training=False, **changes):
    inputs = {
        "anchors": ANCHORS,
        "objectness": LOGITS,
        "deltas": {level: np.zeros((1, 1, 1, 4 * len(anchors)), "float32") for level, anchors in ANCHORS.items()},
        "sizes": np.array(sizes),
        **changes,
    }
    return {name: value.numpy() for name, value in layer(inputs, training=training).items()}


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def test_suppression_by_level_and_clipping():
    found = proposals(ProposalLayer(post_nms=6))
    # The first anchor gives way to the second; the one of P3, of the same place, does not. The last one is cut.
    expected = [[20, 0, 30, 10], [0, 0, 10, 9], [90, 0, 100, 10], [0, 0, 10, 10]]
    np.testing.assert_array_equal(found["boxes"][0], [*expected, [0] * 4, [0] * 4])
    np.testing.assert_allclose(found["scores"][0], [*map(sigmoid, (3, 2, 0, -1)), 0, 0], rtol=1e-6)
    assert found["num_valid"].tolist() == [4]


def test_only_the_best_of_a_level_take_part():
    found = proposals(ProposalLayer(pre_nms=2, post_nms=6))
    np.testing.assert_array_equal(found["boxes"][0, :3], [[20, 0, 30, 10], [0, 0, 10, 9], [0, 0, 10, 10]])
    assert found["num_valid"].tolist() == [3]


def test_training_has_numbers_of_its_own():
    layer = ProposalLayer(pre_nms=1, post_nms=1, training_pre_nms=3, training_post_nms=2)
    assert proposals(layer)["boxes"].shape == (1, 1, 4)
    found = proposals(layer, training=True)
    np.testing.assert_array_equal(found["boxes"][0], [[20, 0, 30, 10], [0, 0, 10, 9]])


def test_boxes_that_clipping_leaves_too_small_go():
    found = proposals(ProposalLayer(post_nms=6), sizes=((100, 90),))  # nothing of the last anchor is left
    assert found["num_valid"].tolist() == [3]
    found = proposals(ProposalLayer(post_nms=6, min_size=9.5))  # what the second anchor hid, comes out
    np.testing.assert_array_equal(found["boxes"][0, 1], [0, 0, 10, 10])


def test_improbable_ones_go():
    assert proposals(ProposalLayer(post_nms=6, score_threshold=0.6))["num_valid"].tolist() == [2]


def test_deltas_move_anchors():
    deltas = {"P2": np.zeros((1, 1, 1, 16), "float32"), "P3": np.zeros((1, 1, 1, 4), "float32")}
    deltas["P2"][..., 8:12] = [0.5, 1, math.log(2), 0]  # of the third, the best
    found = proposals(ProposalLayer(post_nms=6), deltas=deltas)
    np.testing.assert_allclose(found["boxes"][0, 0], [20, 10, 40, 20], rtol=1e-6)


def test_images_of_a_batch():
    tiled = {
        "objectness": {level: np.concatenate([logits, -logits]) for level, logits in LOGITS.items()},
        "deltas": {level: np.zeros((2, 1, 1, 4 * len(anchors)), "float32") for level, anchors in ANCHORS.items()},
    }
    found = proposals(ProposalLayer(post_nms=6), sizes=((100, 100), (5, 100)), **tiled)
    assert found["boxes"][1, :, 3].max() == 5
    np.testing.assert_array_equal(found["boxes"][1, 0], [0, 0, 10, 5])  # of P3, now the best
    np.testing.assert_array_equal(found["boxes"][0], proposals(ProposalLayer(post_nms=6))["boxes"][0])


def test_nothing_is_to_be_learned_through_proposals():
    logits = {level: tf.constant(value) for level, value in LOGITS.items()}
    with tf.GradientTape() as tape:
        tape.watch(logits)
        inputs = {"anchors": ANCHORS, "objectness": logits, "sizes": np.array([[100, 100]])}
        inputs["deltas"] = {level: tf.zeros([1, 1, 1, 4 * len(anchors)]) for level, anchors in ANCHORS.items()}
        total = tf.reduce_sum(ProposalLayer()(inputs)["scores"])
    assert tape.gradient(total, list(logits.values())) == [None, None]


def test_stock_ops_give_the_same():
    with kseg_ops.use_reference():
        stock = proposals(ProposalLayer(post_nms=6))
    for name, value in proposals(ProposalLayer(post_nms=6)).items():
        np.testing.assert_array_equal(stock[name], value)


def test_refusals_of_proposals():
    with pytest.raises(ValueError, match="post_nms must be a positive int; got 0"):
        ProposalLayer(post_nms=0)
    with pytest.raises(ValueError, match=r"iou_threshold must be a number in 0..1; got 2"):
        ProposalLayer(iou_threshold=2)
    with pytest.raises(ValueError, match=r"must have the same levels; got \['P2'\], \['P2', 'P3'\]"):
        proposals(ProposalLayer(), anchors={"P2": ANCHORS["P2"]})


# Probabilities of two classes, and the boxes of three regions; the last region is all background.
SHARES = np.array([[0.1, 0.6, 0.3], [0.1, 0.8, 0.1], [0.96, 0.02, 0.02]])
REGIONS = np.array([[[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10]]], "float32")


def detections(layer, **changes):
    inputs = {
        "logits": np.log(SHARES)[None].astype("float32"),
        "deltas": np.zeros((1, 3, 3, 4), "float32"),
        "proposals": REGIONS,
        "sizes": np.array([[100, 100]]),
        **changes,
    }
    return {name: value.numpy() for name, value in layer(inputs).items()}


def test_classes_do_not_meet():
    found = detections(DetectionPostprocess(max_detections=5))
    # Of class 0 the better of the overlapping two, of class 1 likewise; 0.02 is too little.
    np.testing.assert_array_equal(found["classes"][0], [0, 1, -1, -1, -1])
    np.testing.assert_allclose(found["scores"][0], [0.8, 0.3, 0, 0, 0], rtol=1e-5)
    np.testing.assert_array_equal(found["boxes"][0, :3], [[0, 0, 10, 9], [0, 0, 10, 10], [0] * 4])


def test_limits():
    found = detections(DetectionPostprocess(score_threshold=0.01, iou_threshold=1.0, max_detections=4))
    np.testing.assert_allclose(found["scores"][0], [0.8, 0.6, 0.3, 0.1], rtol=1e-5)
    np.testing.assert_array_equal(found["classes"][0], [0, 0, 1, 1])


def test_each_class_moves_the_box_in_its_own_way():
    deltas = np.zeros((1, 3, 3, 4), "float32")
    deltas[0, :, 0] = 9  # of the background: read by nobody
    deltas[0, :, 2] = [10, 0, 0, 5 * math.log(3)]  # by one width; three times as high
    found = detections(DetectionPostprocess(max_detections=2), deltas=deltas)
    np.testing.assert_allclose(found["boxes"][0], [[0, 0, 10, 9], [10, 0, 20, 20]], rtol=1e-5)


def test_padding_and_images():
    found = detections(DetectionPostprocess(max_detections=2), num_valid=np.array([1]))
    np.testing.assert_allclose(found["scores"][0], [0.6, 0.3], rtol=1e-5)
    found = detections(DetectionPostprocess(max_detections=2), sizes=np.array([[8, 6]]))
    np.testing.assert_array_equal(found["boxes"][0], [[0, 0, 6, 8], [0, 0, 6, 8]])
    found = detections(DetectionPostprocess(max_detections=2, min_size=9.5))
    np.testing.assert_array_equal(found["boxes"][0], [[0, 0, 10, 10], [0, 0, 10, 10]])


@pytest.mark.parametrize("policy", POLICIES)
def test_precision_and_configuration(policy):
    for layer in (ProposalLayer(dtype=policy), DetectionPostprocess(dtype=policy)):
        check_config_round_trip(layer)
        assert layer.supports_jit == _library.jit_ready(("batched_nms",))
    found = detections(DetectionPostprocess(max_detections=2, dtype=policy), proposals=REGIONS + 50.3)
    assert found["boxes"].dtype == np.float32
    assert found["boxes"][0, 0, 0] == pytest.approx(50.3, abs=1e-4)


def test_refusals_of_detections():
    with pytest.raises(ValueError, match="max_detections must be a positive int; got None"):
        DetectionPostprocess(max_detections=None)
    with pytest.raises(ValueError, match=r"score_threshold must be a number in 0..1; got -1"):
        DetectionPostprocess(score_threshold=-1)
    with pytest.raises(ValueError, match=r"logits must be \(B, P, 1 \+ classes\) and deltas"):
        detections(DetectionPostprocess(), deltas=np.zeros((1, 3, 12), "float32"))
