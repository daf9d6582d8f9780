"""The Lovász losses: cases worked out by hand, and the slopes of the Jaccard extension."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from kseg.losses import LovaszHinge, LovaszSoftmax
from kseg.losses.jaccard_extension import jaccard_extension
from tests.helpers import loss_references as reference

EPS = float(np.finfo("float32").eps)
CLOSE = 32 * EPS

# Foreground probabilities 1/2, 4/5 and 1/5; the last pixel is void.
LABELS = np.array([[[1, 0, 0, 255]]], "uint8")
LOGITS = np.array([[[[0.0], [math.log(4)], [-math.log(4)], [7.0]]]], "float32")


def value_and_gradient(loss, y, logits, weight=None):
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(y, logits, sample_weight=weight)
    return float(value), tape.gradient(value, logits).numpy()


def test_softmax_by_hand():
    """Errors 4/5 (background), 1/2 (foreground), 1/5: the Jaccard loss grows to 1 - 1/2, to 1, and not any more."""
    value, slopes = value_and_gradient(LovaszSoftmax(), LABELS, LOGITS)
    assert value == pytest.approx(0.5 * 0.8 + 0.5 * 0.5, rel=CLOSE)
    # The slope of a sigmoid at p is p (1 - p).
    np.testing.assert_allclose(slopes.ravel(), [-0.5 * 0.25, 0.5 * 0.16, 0, 0], rtol=CLOSE)
    two = np.concatenate([np.zeros_like(LOGITS), LOGITS], -1)
    # Of background, with the same errors: 1 - 1/2 after its own 4/5, then 1 - 1/3, then 1.
    background = 0.8 * 1 / 2 + 0.5 * (2 / 3 - 1 / 2) + 0.2 * (1 - 2 / 3)
    assert value_and_gradient(LovaszSoftmax(), LABELS, two)[0] == pytest.approx((0.65 + background) / 2, rel=CLOSE)


def test_hinge_by_hand():
    """Logits 1/2, 1 and -3: errors 1/2 (foreground), 2 and 0 (background)."""
    logits = np.array([[[[0.5], [1.0], [-3.0], [9.0]]]], "float32")
    value, slopes = value_and_gradient(LovaszHinge(), LABELS, logits)
    assert value == pytest.approx(0.5 * 2 + 0.5 * 0.5, rel=CLOSE)
    np.testing.assert_allclose(slopes.ravel(), [-0.5, 0.5, 0, 0], rtol=CLOSE)
    two = np.concatenate([logits + 5, 2 * logits + 5], -1)  # only the difference matters
    assert value_and_gradient(LovaszHinge(), LABELS, two)[0] == pytest.approx(value, rel=CLOSE)


@pytest.mark.parametrize("classes", [1, 2, 4])
def test_hard_predictions_give_one_minus_the_iou(classes):
    rng = np.random.default_rng(0)
    y, predicted = rng.integers(0, max(classes, 2), (2, 2, 6, 7))
    logits = 1e3 * (np.eye(classes)[predicted] if classes > 1 else 2.0 * predicted[..., None] - 1)
    ious = [((y == c) & (predicted == c)).sum() / ((y == c) | (predicted == c)).sum() for c in range(max(classes, 2))]
    expected = 1 - np.mean(ious if classes > 1 else ious[1:])
    assert float(LovaszSoftmax()(y, logits.astype("float32"))) == pytest.approx(expected, rel=CLOSE)


def test_slopes_keep_their_precision_with_many_pixels():
    """Differences of float32 Jaccard losses would be off by about eps * 400,000 = 5 percent of a slope."""
    rng = np.random.default_rng(0)
    errors, truth = rng.permutation(400_000).astype("float32") / 400_000, rng.random(400_000) < 0.3
    errors = tf.constant(errors[None])
    with tf.GradientTape() as tape:
        tape.watch(errors)
        value = jaccard_extension(errors, truth[None], tf.ones_like(errors))
    order = np.argsort(-errors[0].numpy())
    hit = truth[order]
    losses = 1 - (hit.sum() - np.cumsum(hit)) / (hit.sum() + np.cumsum(~hit))  # in float64
    slopes = tape.gradient(value, errors)[0].numpy()[order]
    # The differences are good to 400,000 roundings of float64, about 1e-10.
    np.testing.assert_allclose(slopes, np.diff(losses, prepend=0.0), rtol=4 * EPS, atol=1e-16)
    assert slopes.astype("float64").sum() == pytest.approx(1, rel=EPS)


def test_weights_are_multiplicities():
    rng = np.random.default_rng(0)
    y, logits = rng.integers(0, 3, (1, 4, 5)), rng.normal(size=(1, 4, 5, 3)).astype("float32")
    times = rng.integers(0, 4, y.shape)
    repeated = np.repeat(y.ravel(), times.ravel())[None, None], np.repeat(logits.reshape(-1, 3), times.ravel(), 0)
    expected = LovaszSoftmax()(repeated[0], repeated[1][None, None])
    value = LovaszSoftmax()(y, logits, sample_weight=times.astype("float32"))
    assert float(value) == pytest.approx(float(expected), rel=CLOSE)
    weight = rng.uniform(size=y.shape).astype("float32")
    weight[0, 0, 0] = 0
    value = LovaszSoftmax()(y, logits, sample_weight=weight)
    assert float(value) == pytest.approx(reference.lovasz_softmax(y, logits, weight=weight), rel=CLOSE)
    two = y % 2
    value = LovaszHinge()(two, logits[..., :1], sample_weight=weight)
    assert float(value) == pytest.approx(reference.lovasz_hinge(two, logits[..., :1], weight=weight), rel=CLOSE)


def test_a_sample_weight_of_0_is_void():
    y = np.where(LABELS == 255, 0, LABELS)
    for loss in (LovaszSoftmax(), LovaszHinge()):
        assert float(loss(y, LOGITS, sample_weight=(LABELS != 255).astype("float32"))) == float(loss(LABELS, LOGITS))


@pytest.mark.parametrize("absent", ["skip", "one", "count"])
@pytest.mark.parametrize("per_image", [False, True])
def test_absent_classes(absent, per_image):
    rng = np.random.default_rng(0)
    y = np.stack([rng.integers(0, 2, (4, 5)), rng.integers(0, 3, (4, 5))])
    y[:, 0, 0] = 255
    logits = rng.normal(size=(2, 4, 5, 4)).astype("float32")
    loss = LovaszSoftmax(absent=absent, per_image=per_image)
    expected = reference.lovasz_softmax(y, logits, absent, per_image)
    assert float(loss(y, logits)) == pytest.approx(expected, rel=CLOSE)


def test_an_absent_class_costs_its_largest_probability():
    logits = np.log(np.array([[[[6, 3, 1], [5, 3, 2], [1, 1, 98]]]], "float32"))
    y = np.array([[[0, 1, 255]]])
    value, slopes = value_and_gradient(LovaszSoftmax(absent="count", class_weights=[0, 0, 1]), y, logits)
    assert value == pytest.approx(0.2, rel=CLOSE)
    np.testing.assert_allclose(slopes[0, 0], [[0, 0, 0], [-0.1, -0.06, 0.16], [0, 0, 0]], rtol=CLOSE)


def test_images_without_foreground():
    y = np.array([[[0, 0]], [[1, 0]], [[255, 255]]])
    logits = np.array([[[[-0.5], [0.25]]], [[[2.0], [-3.0]]], [[[5.0], [5.0]]]], "float32")
    for absent, expected in (("count", [1.25, 0, 0]), ("skip", [0, 0, 0]), ("one", [0, 0, 0])):
        loss = LovaszHinge(absent=absent, per_image=True, reduction="none")
        np.testing.assert_allclose(loss(y, logits), expected)
    means = [float(LovaszHinge(absent=absent, per_image=True)(y, logits + 1)) for absent in ("count", "skip", "one")]
    # Errors of the first image 1.5 and 2.25; of the second 0 and -1.
    assert means == [2.25 / 2, 0, 0]
    means = [float(LovaszHinge(absent=absent, per_image=True)(y, logits - 2)) for absent in ("count", "skip", "one")]
    # First: 0 and 0; second: 1 and 0, of which the first, foreground, makes the Jaccard loss 1.
    assert means == [0.5, 1, 0.5]


def test_the_hinge_is_convex_in_the_logits():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (1, 4, 5))
    loss = LovaszHinge()
    for _ in range(20):
        a, b = rng.normal(size=(2, *y.shape, 1)).astype("float32") * 3
        middle = float(loss(y, (a + b) / 2))
        assert middle <= (float(loss(y, a)) + float(loss(y, b))) / 2 + CLOSE * middle


def test_equal_errors_may_come_in_any_order():
    """All probabilities are 1/2, so that the value is half the Jaccard loss of everything."""
    for seed in range(3):
        y = np.random.default_rng(seed).integers(0, 2, (1, 5, 5))
        assert float(LovaszSoftmax()(y, np.zeros((1, 5, 5, 2), "float32"))) == pytest.approx(0.5, rel=CLOSE)


def test_errors():
    with pytest.raises(ValueError, match=r"takes logits of one or two classes; got 3. Use LovaszSoftmax"):
        LovaszHinge()(LABELS, np.zeros((1, 1, 4, 3), "float32"))
    with pytest.raises(ValueError, match=r"absent must be one of .* got 'present'"):
        LovaszSoftmax(absent="present")
    with pytest.raises(ValueError, match="per_image must be True or False; got 1"):
        LovaszHinge(per_image=1)


def test_config_keeps_every_argument():
    hinge = {"ignore_index": 7, "absent": "one", "per_image": True, "reduction": "none", "name": "a"}
    for kind, arguments in ((LovaszHinge, hinge), (LovaszSoftmax, {**hinge, "class_weights": (1.0, 2.0)})):
        loss = kind(**arguments)
        assert loss.get_config() == arguments
        assert kind.from_config(loss.get_config()).get_config() == arguments
