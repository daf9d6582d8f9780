"""The cross-entropy of the hardest pixels, on cases worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from kseg.losses import CrossEntropy, OnlineHardPixels
from tests.helpers import loss_references as reference

EPS = float(np.finfo("float32").eps)
CLOSE = 32 * EPS

# Probabilities of the true class, which is 0, 1, 0, 1, 0; the last pixel is void, and would be the hardest.
P = np.array([0.9, 0.1, 0.5, 0.8, 0.6, 0.01])
LABELS = np.array([[[0, 1, 0, 1, 0, 255]]], "uint8")
FIRST = np.where(LABELS[0, 0] == 1, 1 - P, P)
LOGITS = np.log(np.stack([FIRST, 1 - FIRST], -1))[None, None].astype("float32")
SIGMOID = LOGITS[..., 1:] - LOGITS[..., :1]
CE = -np.log(P)


def mean_of(*pixels):
    return CE[list(pixels)].mean()


def by_threshold(threshold, min_kept, **options):
    return OnlineHardPixels(threshold=threshold, min_kept=min_kept, **options)


def by_fraction(fraction, **options):
    return OnlineHardPixels(threshold=None, fraction=fraction, **options)


@pytest.mark.parametrize("logits", [LOGITS, SIGMOID], ids=["softmax", "sigmoid"])
@pytest.mark.parametrize(
    ("loss", "kept"),
    [
        (by_threshold(0.7, 1), [1, 2, 4]),
        (by_threshold(0.55, 1), [1, 2]),
        (by_threshold(0.05, 1), [1]),
        (by_threshold(0.05, 3), [1, 2, 4]),
        (by_threshold(0.55, 4), [1, 2, 3, 4]),
        (by_threshold(0.05, 100_000), [0, 1, 2, 3, 4]),
        (OnlineHardPixels(), [0, 1, 2, 3, 4]),
        (by_fraction(0.2), [1]),
        (by_fraction(0.21), [1, 2]),
        (by_fraction(0.6), [1, 2, 4]),  # 0.6 * 5 is a rounding above 3 in no case
        (by_fraction(1), [0, 1, 2, 3, 4]),
        (by_fraction(1e-9), [1]),
    ],
)
def test_which_pixels_are_kept(loss, kept, logits):
    assert float(loss(LABELS, logits)) == pytest.approx(mean_of(*kept), rel=CLOSE)
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(LABELS, logits)
    moved = np.any(tape.gradient(value, logits).numpy() != 0, -1)
    np.testing.assert_array_equal(np.flatnonzero(moved), kept)
    each = loss.call(LABELS, logits)
    np.testing.assert_array_equal(np.flatnonzero(each), kept)


@pytest.mark.parametrize("number", [3, 7, 10, 30, 49, 99, 1000])
def test_a_fraction_that_makes_a_whole_number(number):
    """`k / n * n` is not always k in floating point."""
    rng = np.random.default_rng(0)
    y, logits = np.zeros((1, 1, number), int), rng.normal(size=(1, 1, number, 2)).astype("float32")
    for k in range(1, number + 1, max(number // 30, 1)):
        assert np.count_nonzero(by_fraction(k / number).call(y, logits)) == k


def test_all_of_equal_hardness_are_kept():
    """Which of them were first must not matter."""
    y, logits = np.zeros((1, 2, 4), int), np.zeros((1, 2, 4, 2), "float32")
    for loss in (by_fraction(0.25), by_threshold(0.3, 2)):
        np.testing.assert_allclose(loss.call(y, logits), np.full((1, 2, 4), math.log(2)), rtol=CLOSE)


def test_over_the_whole_batch():
    y, logits = np.concatenate([LABELS, LABELS]), np.concatenate([LOGITS, LOGITS])
    logits[1] *= 0.5  # nearer to 1/2: hard pixels get easier, easy ones harder
    for loss, arguments in ((by_fraction(0.4), {"fraction": 0.4}), (by_threshold(0.05, 4), {"threshold": 0.05})):
        expected = reference.hardest(y, logits, min_kept=4, **arguments)
        assert float(loss(y, logits)) == pytest.approx(expected, rel=CLOSE)


def test_sample_weights():
    """They do not decide what is hard, except that weight 0 is void."""
    weight = np.array([[[1.0, 0.0, 2.0, 1.0, 3.0, 9.0]]])
    # Of the four pixels with a weight, the two hardest are the third and the fifth.
    expected = 2 * CE[2] + 3 * CE[4]
    for loss in (by_fraction(0.5), by_threshold(0.05, 2)):
        assert float(loss(LABELS, LOGITS, weight)) == pytest.approx(expected / 2, rel=CLOSE)
    loss = by_fraction(0.5, reduction="mean_with_sample_weight")
    assert float(loss(LABELS, LOGITS, weight)) == pytest.approx(expected / 5, rel=CLOSE)
    assert float(by_fraction(0.5, reduction="sum")(LABELS, LOGITS, weight)) == pytest.approx(expected, rel=CLOSE)


def test_class_weights():
    expected = (CE[2] + 4 * CE[1]) / 5
    assert float(by_fraction(0.4, class_weights=[1, 4])(LABELS, LOGITS)) == pytest.approx(expected, rel=CLOSE)
    # Without class 1, half of three pixels.
    assert float(by_fraction(0.5, class_weights=[1, 0])(LABELS, LOGITS)) == pytest.approx(mean_of(2, 4), rel=CLOSE)


def test_label_smoothing_changes_the_loss_but_not_the_choice():
    smoothed = CrossEntropy(label_smoothing=0.5, reduction="none")(LABELS, LOGITS).numpy().ravel()
    assert set(np.argsort(-smoothed)[:3]) != {1, 2, 4}  # by it, another choice would be made
    loss = by_threshold(0.7, 1, label_smoothing=0.5)
    assert float(loss(LABELS, LOGITS)) == pytest.approx(smoothed[[1, 2, 4]].mean(), rel=CLOSE)
    small = np.random.default_rng(0).normal(size=(1, 2, 3, 3)).astype("float32") * 3
    y = np.random.default_rng(1).integers(0, 3, (1, 7, 8))
    full = tf.image.resize(small, (7, 8))
    loss = by_fraction(0.3, label_smoothing=0.2)
    expected = reference.hardest(y, full.numpy(), fraction=0.3, smoothing=0.2)
    for logits in (small, full):
        assert float(loss(y, logits)) == pytest.approx(expected, rel=64 * EPS)


def test_an_empty_batch():
    for loss in (by_fraction(0.5), by_threshold(0.7, 3)):
        assert float(loss(np.zeros((0, 2, 2), int), np.zeros((0, 2, 2, 3), "float32"))) == 0


def test_config_keeps_every_argument():
    loss = OnlineHardPixels(0.6, 9, None, 7, (1.0, 2.0), 0.1, "sum", "a")
    config = loss.get_config()
    assert config == {
        "threshold": 0.6,
        "min_kept": 9,
        "fraction": None,
        "ignore_index": 7,
        "class_weights": (1.0, 2.0),
        "label_smoothing": 0.1,
        "reduction": "sum",
        "name": "a",
    }
    assert OnlineHardPixels.from_config(config).get_config() == config


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": None}, "give either threshold .* or fraction, .* got threshold=None and fraction=None"),
        ({"fraction": 0.5}, "give either threshold .* or fraction, .* got threshold=0.7 and fraction=0.5"),
        ({"threshold": 1.0}, r"threshold must be a probability in \(0, 1\); got 1.0"),
        ({"threshold": 0}, r"threshold must be a probability in \(0, 1\); got 0"),
        ({"threshold": None, "fraction": 0}, r"fraction must be in \(0, 1\]; got 0"),
        ({"threshold": None, "fraction": 50}, r"fraction must be in \(0, 1\]; got 50"),
        ({"min_kept": 0}, "min_kept must be an int of at least 1; got 0"),
        ({"min_kept": 0.5}, "min_kept must be an int of at least 1; got 0.5"),
        ({"label_smoothing": 1}, r"label_smoothing must be in \[0, 1\); got 1"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        OnlineHardPixels(**arguments)
