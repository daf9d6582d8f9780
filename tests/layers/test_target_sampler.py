"""Matching and sampling, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from kseg.layers import TargetSampler
from tests.helpers.layer_checks import POLICIES, check_config_round_trip

# IoU with the object (0, 0, 10, 10): 1, 0.8, 0.5, 0.25, 0, 0.
BOXES = np.array(
    [[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 5, 10], [0, 0, 5, 5], [20, 0, 30, 10], [40, 0, 50, 10]], "float32"
)
OBJECT = {"boxes": np.array([[[0, 0, 10, 10]]], "float32"), "classes": np.array([[3]], "int32")}
NOTHING = {"boxes": np.zeros((1, 2, 4), "float32"), "classes": np.full((1, 2), -1, "int32")}


def drawn(layer, boxes, targets, num_valid=None):
    """The indices of the positive and of the negative samples of the first image, sorted, and everything."""
    found = {name: value.numpy() for name, value in layer(boxes, targets, num_valid).items()}
    indices, positive, valid = found["indices"][0], found["positive"][0], found["valid"][0]
    return sorted(indices[positive].tolist()), sorted(indices[valid & ~positive].tolist()), found


def test_thresholds():
    positive, negative, _ = drawn(TargetSampler(20, 0.5, 0.7, 0.3), BOXES, OBJECT)
    assert positive == [0, 1]
    assert negative == [3, 4, 5]  # 0.5 is between
    # At least the one, less than the other.
    positive, negative, _ = drawn(TargetSampler(20, 0.5, 0.5, 0.5), BOXES, OBJECT)
    assert positive == [0, 1, 2]
    assert negative == [3, 4, 5]


def test_an_iou_of_exactly_the_lower_threshold_is_no_background():
    _, negative, _ = drawn(TargetSampler(20, 0.5, 0.7, 0.25), BOXES, OBJECT)
    assert negative == [4, 5]


def test_low_quality_matches():
    objects = {
        # The best boxes for the first have an IoU of 5 / 11; nothing overlaps the second.
        "boxes": np.array([[[20, 0, 30, 6], [70, 0, 80, 10]]], "float32"),
        "classes": np.array([[3, 1]], "int32"),
    }
    boxes = np.array([[20, 1, 30, 11], [20, -5, 30, 5], [20, 2, 30, 12], [0, 0, 5, 5]], "float32")
    positive, negative, found = drawn(TargetSampler(20, 0.5, 0.7, 0.3, low_quality_matches=True), boxes, objects)
    assert positive == [0, 1]  # both, though either is below 0.7
    assert negative == [3]  # box 2 has 4 / 12
    assert found["classes"][0, :2].tolist() == [3, 3]
    assert drawn(TargetSampler(20, 0.5, 0.7, 0.3), boxes, objects)[0] == []


def test_a_box_belongs_to_the_object_that_it_overlaps_most():
    objects = {
        "boxes": np.array([[[0, 0, 10, 6], [0, 0, 10, 9]]], "float32"),
        "classes": np.array([[0, 1]], "int32"),
    }
    _, _, found = drawn(TargetSampler(4, 0.5, 0.5, 0.5), BOXES[:1], objects)
    assert found["matches"][0, 0] == 1
    assert found["classes"][0].tolist() == [1, -1, -1, -1]


def test_padding_is_no_object():
    objects = {
        "boxes": np.concatenate([np.zeros((1, 1, 4), "float32"), OBJECT["boxes"], OBJECT["boxes"]], axis=1),
        "classes": np.array([[-1, 2, -1]], "int32"),
    }
    _, _, found = drawn(TargetSampler(4, 0.5, 0.5, 0.5), BOXES[:1], objects)
    assert found["matches"][0, 0] == 1
    assert found["classes"][0, 0] == 2


@pytest.mark.parametrize("low_quality_matches", [False, True])
@pytest.mark.parametrize(
    "targets", [NOTHING, {"boxes": np.zeros((1, 0, 4), "float32"), "classes": np.zeros((1, 0), "int32")}]
)
def test_no_objects(targets, low_quality_matches):
    layer = TargetSampler(4, 0.5, 0.5, 0.5, low_quality_matches=low_quality_matches, add_objects=True)
    positive, negative, found = drawn(layer, BOXES, targets)
    assert positive == []
    assert len(set(negative)) == 4
    assert max(negative) < len(BOXES)
    assert not found["deltas"].any()
    assert np.isfinite(found["boxes"]).all()


def test_crowd():
    targets = {
        "boxes": np.array([[[0, 0, 10, 10], [19, 0, 22, 10]]], "float32"),
        "classes": np.array([[3, 3]], "int32"),
        "crowd": np.array([[False, True]]),
    }
    layer = TargetSampler(20, 0.5, 0.5, 0.5, low_quality_matches=True, add_objects=True)
    positive, negative, _ = drawn(layer, BOXES, targets)
    assert positive == [0, 1, 2, 6]  # 6 is the object itself; the region is not
    assert negative == [3, 5]  # a fifth of box 4 lies in the region
    layer = TargetSampler(20, 0.5, 0.5, 0.5, crowd_overlap=0.3)
    assert drawn(layer, BOXES, targets)[1] == [3, 4, 5]


def test_a_crowd_region_hides_no_object():
    targets = {
        "boxes": np.array([[[0, 0, 10, 10], [0, 0, 60, 10]]], "float32"),
        "classes": np.array([[3, 3]], "int32"),
        "crowd": np.array([[False, True]]),
    }
    positive, negative, _ = drawn(TargetSampler(20, 0.5, 0.5, 0.5), BOXES, targets)
    assert positive == [0, 1, 2]
    assert negative == []


def all_pairs(boxes, targets, low, high, overlap):
    """Positive, negative and the object of each box of one image, from the IoU of all pairs."""
    objects, of_crowd = targets["boxes"][0], targets["crowd"][0]
    is_object = (targets["classes"][0] >= 0) & ~of_crowd
    corners = [np.maximum(objects[:, None, k], boxes[:, k]) for k in (0, 1)]
    ends = [np.minimum(objects[:, None, k], boxes[:, k]) for k in (2, 3)]
    width, height = (np.maximum(end - begin, np.float32(0)) for begin, end in zip(corners, ends, strict=True))
    common = width * height
    own, area = ((one[:, 2] - one[:, 0]) * (one[:, 3] - one[:, 1]) for one in (objects, boxes))
    union = own[:, None] + area - common
    iou = np.divide(common, union, out=np.zeros_like(common), where=union != 0)
    iou[~is_object] = -1
    positive = iou.max(axis=0) >= high
    most = iou.max(axis=1, keepdims=True)
    positive |= ((iou == most) & (most > 0)).any(axis=0)
    share = np.divide(common, area, out=np.zeros_like(common), where=area != 0)
    negative = (iou.max(axis=0) < low) & ~positive & ~(share > overlap)[of_crowd & (targets["classes"][0] >= 0)].any(0)
    return positive, negative, iou.argmax(axis=0)


@pytest.mark.parametrize(("seed", "jit_compile"), [(0, False), (1, False), (2, False), (3, True)])
def test_equals_the_matches_of_all_pairs(seed, jit_compile):
    """With ties (coordinates on a grid, objects that are equal), padding, crowd regions and boxes without area."""
    rng = np.random.default_rng(seed)

    def on_grid(count):
        corners = rng.integers(0, 6, (count, 2))
        return (np.concatenate([corners, corners + rng.integers(0, 6, (count, 2))], axis=1) * 7).astype("float32")

    boxes, objects = on_grid(400), on_grid(12)
    objects[5], objects[6] = objects[4], objects[3] + np.float32(0.1)
    targets = {
        "boxes": objects[None],
        "classes": rng.integers(-1, 3, (1, 12)),
        "crowd": rng.uniform(size=(1, 12)) < 0.2,
    }
    positive, negative, matches = all_pairs(boxes, targets, 0.3, 0.5, 0.6)
    assert positive.sum() > 5
    assert negative.sum() > 5
    layer = TargetSampler(400, 1.0, 0.5, 0.3, low_quality_matches=True, crowd_overlap=0.6)
    ours_positive, ours_negative, found = drawn(tf.function(layer, jit_compile=jit_compile), boxes, targets)
    assert ours_positive == np.flatnonzero(positive).tolist()
    assert ours_negative == np.flatnonzero(negative).tolist()
    of_positive = found["indices"][0][found["positive"][0]]
    np.testing.assert_array_equal(found["matches"][0][: len(of_positive)], matches[of_positive])


def test_padded_boxes_are_not_drawn():
    positive, negative, found = drawn(TargetSampler(20, 0.5, 0.5, 0.5), BOXES[None], OBJECT, np.array([4]))
    assert positive == [0, 1, 2]
    assert negative == [3]
    assert found["valid"].sum() == 4
    assert not found["boxes"][0, 4:].any()


def test_numbers():
    # 40 positive and 60 negative boxes.
    boxes = np.concatenate([np.tile(BOXES[:1], (40, 1)), np.tile(BOXES[5:], (60, 1))])
    for samples, fraction, positives, negatives in (
        (20, 0.5, 10, 10),
        (20, 0.25, 5, 15),
        (100, 0.5, 40, 60),
        (200, 0.5, 40, 60),
        (90, 0.5, 40, 50),
        (10, 0.0, 0, 10),
        (10, 1.0, 10, 0),
    ):
        layer = TargetSampler(samples, fraction, 0.5, 0.5)
        positive, negative, found = drawn(layer, boxes, OBJECT)
        assert (len(set(positive)), len(set(negative))) == (positives, negatives)
        assert found["valid"].sum() == positives + negatives
        order = found["positive"][0].astype(int) + found["valid"][0]
        assert (np.diff(order) <= 0).all()  # positive, negative, padding


def test_every_box_is_drawn_equally_often():
    boxes = np.concatenate([np.tile(BOXES[:1], (8, 1)), np.tile(BOXES[5:], (8, 1))])
    layer = tf.function(TargetSampler(8, 0.5, 0.5, 0.5, seed=0))
    counts = np.zeros(16)
    for _ in range(200):
        np.add.at(counts, layer(boxes, OBJECT)["indices"][0].numpy(), 1)
    # 200 draws with probability 1/2: a standard deviation of 7.
    assert np.abs(counts - 100).max() < 4 * math.sqrt(200 / 4)


def test_seed():
    boxes = np.tile(BOXES[5:], (60, 1))
    first, again, other = (TargetSampler(8, seed=seed) for seed in (1, 1, 2))
    draws = [layer(boxes, NOTHING)["indices"].numpy().tolist() for layer in (first, again, other)]
    assert draws[0] == draws[1] != draws[2]


def test_deltas():
    layer = TargetSampler(2, 1.0, 0.5, 0.5, box_weights=(10.0, 10.0, 5.0, 5.0))
    found = layer(BOXES[1:2], OBJECT)
    # The centre goes from (5, 4) to (5, 5), an eighth of the height; the height from 8 to 10.
    np.testing.assert_allclose(found["deltas"][0, 0], [0, 10 / 8, 0, 5 * math.log(10 / 8)], rtol=1e-5)
    assert not found["deltas"][0, 1].numpy().any()


def test_images_have_their_own_boxes():
    boxes = np.stack([BOXES, BOXES[::-1]])
    targets = {
        "boxes": np.tile(OBJECT["boxes"], (2, 1, 1)),
        "classes": np.array([[3], [-1]], "int32"),
    }
    found = TargetSampler(6, 0.5, 0.5, 0.5)(boxes, targets)
    for image in range(2):
        valid = found["valid"][image].numpy()
        np.testing.assert_array_equal(
            found["boxes"][image].numpy()[valid], boxes[image][found["indices"][image].numpy()[valid]]
        )
    assert found["positive"].numpy().sum(axis=1).tolist() == [3, 0]


@pytest.mark.parametrize("policy", POLICIES)
def test_in_a_graph_of_unknown_sizes(policy):
    layer = TargetSampler(8, 0.5, 0.5, 0.5, dtype=policy)
    check_config_round_trip(layer)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, 4]), tf.TensorSpec([None, None, 4]), tf.TensorSpec([None, None], tf.int32)
        ]
    )  # fmt: skip
    def traced(boxes, objects, classes):
        return layer(boxes, {"boxes": objects, "classes": classes})

    found = traced(BOXES[None] + 1000.3, OBJECT["boxes"] + 1000.3, OBJECT["classes"])
    assert found["boxes"].dtype == tf.float32
    assert found["boxes"].shape[1:] == (8, 4)
    assert found["positive"].numpy().sum() == 3
    assert found["boxes"].numpy()[0, :3, 0].tolist() == [np.float32(1000.3)] * 3


def test_refusals():
    with pytest.raises(ValueError, match="num_samples must be a positive int; got 0"):
        TargetSampler(0)
    with pytest.raises(ValueError, match=r"positive_fraction must be a number in 0..1; got 2"):
        TargetSampler(4, 2)
    with pytest.raises(ValueError, match=r"negative_iou must not be above positive_iou, 0.5; got 0.6"):
        TargetSampler(4, 0.5, 0.5, 0.6)
    with pytest.raises(ValueError, match=r"box_weights must be four positive numbers, of x, y, w and h; got \(1,\)"):
        TargetSampler(4, box_weights=(1,))
    with pytest.raises(ValueError, match=r"targets must have boxes and classes; classes missing, it has \['boxes'\]"):
        TargetSampler(4)(BOXES, {"boxes": OBJECT["boxes"]})
