"""Jaccard, Tversky and focal Tversky on cases worked out by hand; Dice has its own in test_losses.py."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg.losses import CrossEntropy, Dice, FocalTversky, Jaccard, Tversky, WeightedSum
from tests.helpers import loss_references as reference

EPS = float(np.finfo("float32").eps)
CLOSE = 32 * EPS  # a handful of float32 operations on numbers of order 1

# Softmax of [log 3, 0] is (3/4, 1/4). Class 0: overlap 1, predicted 5/4, labelled 2. Class 1: 3/4, 7/4, 1.
A, B = [math.log(3), 0.0], [0.0, math.log(3)]
LABELS = np.array([[[0, 0], [1, 255]]], "uint8")
LOGITS = np.array([[[A, B], [B, [50.0, -50.0]]]], "float32")
SIGMOID = (LOGITS[..., 1:] - LOGITS[..., :1]).astype("float32")

EVERY = [Jaccard, Tversky, FocalTversky]
every = pytest.mark.parametrize("kind", EVERY)


def value(loss, y=LABELS, logits=LOGITS, weight=None):
    return float(loss(y, logits, sample_weight=weight))


@pytest.mark.parametrize(
    ("make", "first", "second"),
    [
        (lambda **kw: Jaccard(smooth=0, **kw), 1 - 1 / 2.25, 1 - 0.75 / 2),
        (lambda **kw: Jaccard(**kw), 1 - 2 / 3.25, 1 - 1.75 / 3),
        (lambda **kw: Tversky(smooth=0, **kw), 1 - 1 / (1 + 0.3 * 0.25 + 0.7 * 1), 1 - 0.75 / (0.75 + 0.3 + 0.7 / 4)),
        (lambda **kw: Tversky(1.0, 0.0, smooth=0, **kw), 1 - 1 / 1.25, 1 - 0.75 / 1.75),  # one minus precision
        (lambda **kw: Tversky(0.0, 1.0, smooth=0, **kw), 1 - 1 / 2, 1 - 0.75 / 1),  # one minus recall
        (lambda **kw: FocalTversky(2.0, 0.0, 1.0, smooth=0, **kw), 1 / 4, 1 / 16),
        (lambda **kw: FocalTversky(0.5, 0.0, 1.0, smooth=0, **kw), 1 / math.sqrt(2), 1 / 2),
    ],
)
def test_by_hand(make, first, second):
    assert value(make()) == pytest.approx((first + second) / 2, rel=CLOSE)
    assert value(make(class_weights=[1, 3])) == pytest.approx((first + 3 * second) / 4, rel=CLOSE)
    assert value(make(), logits=SIGMOID) == pytest.approx(second, rel=CLOSE)
    assert value(make(class_weights=[1, 3]), logits=SIGMOID) == pytest.approx((first + 3 * second) / 4, rel=CLOSE)


def test_special_cases_of_each_other():
    assert value(Tversky(0.5, 0.5, smooth=0.75)) == pytest.approx(value(Dice(smooth=1.5)), rel=CLOSE)
    assert value(Tversky(1.0, 1.0)) == pytest.approx(value(Jaccard()), rel=CLOSE)
    assert value(FocalTversky(1.0)) == pytest.approx(value(Tversky()), rel=CLOSE)


@pytest.mark.parametrize(
    ("make", "of_sums"),
    [
        (Dice, reference.dice),
        (Jaccard, reference.jaccard),
        (Tversky, reference.tversky),
        (FocalTversky, reference.focal_tversky),
    ],
)
@pytest.mark.parametrize("absent", ["skip", "one", "count"])
@pytest.mark.parametrize("per_image", [False, True])
def test_absent_classes(make, of_sums, absent, per_image):
    """The third class is absent from the first image, the fourth from both."""
    rng = np.random.default_rng(0)
    y = np.stack([rng.integers(0, 2, (4, 5)), rng.integers(0, 3, (4, 5))])
    y[:, 0, 0] = 255
    logits = rng.normal(size=(2, 4, 5, 4)).astype("float32")
    expected = reference.region(y, logits, of_sums, absent, per_image)
    assert value(make(absent=absent, per_image=per_image), y, logits) == pytest.approx(expected, rel=CLOSE)
    others = {reference.region(y, logits, of_sums, other, per_image) for other in ("skip", "one", "count")}
    assert min(abs(a - b) for a in others for b in others if a != b) > 0.01
    assert len(others) == 3


@every
def test_one_value_per_image(kind):
    y, logits = np.concatenate([LABELS, LABELS, np.full_like(LABELS, 255)]), np.concatenate([LOGITS, -LOGITS, LOGITS])
    each = kind(per_image=True, reduction="none")(y, logits)
    first, second = value(kind()), value(kind(), LABELS, -LOGITS)
    np.testing.assert_allclose(each, [first, second, 0], rtol=CLOSE)
    assert value(kind(per_image=True), y, logits) == pytest.approx((first + second) / 2, rel=CLOSE)
    assert value(kind(per_image=True, reduction="sum"), y, logits) == pytest.approx(first + second, rel=CLOSE)


@every
def test_a_sample_weight_of_0_is_void(kind):
    y = np.where(LABELS == 255, 0, LABELS)
    assert value(kind(), y, weight=np.array([[[1, 1], [1, 0]]])) == value(kind())


@pytest.mark.parametrize("gamma", [0.1, 0.5, 2.0])
def test_a_certain_prediction_has_a_finite_gradient(gamma):
    """The index is 1 but for a rounding, which a power would make a NaN or an infinite slope of."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, (1, 20, 20))
    logits = tf.Variable(200 * np.eye(3, dtype="float32")[y])
    with tf.GradientTape() as tape:
        loss = FocalTversky(gamma)(y, logits)
    assert float(loss) == pytest.approx(0, abs=EPS**gamma)
    np.testing.assert_array_equal(tape.gradient(loss, logits), np.zeros(logits.shape))


@every
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_logits_are_summed_in_float32(kind, dtype):
    """70,000 pixels: a sum of ones in float16 is infinite, in bfloat16 it stops at 256."""
    y, logits = np.zeros((1, 1, 70_000), "uint8"), tf.zeros((1, 1, 70_000, 2), dtype)
    # Overlap and prediction 35,000, labelled 70,000; smooth adds 1.
    known = {Jaccard: 1 / 2, Tversky: 1 - 1 / 1.7, FocalTversky: (1 - 1 / 1.7) ** 0.75}[kind]
    assert value(kind(), y, logits) == pytest.approx(known, rel=1e-4)


@pytest.mark.parametrize("regions", [[Dice(), Jaccard()], [Dice(), Jaccard(), Tversky(), FocalTversky()]])
@pytest.mark.parametrize("entropy", [[], [CrossEntropy(label_smoothing=0.1)]])
def test_a_weighted_sum_takes_one_sweep_over_small_logits(regions, entropy, monkeypatch):
    calls = []
    function = kseg_ops.resize_softmax_cross_entropy_and_dice

    def counted(*args, **kwargs):
        calls.append(kwargs["label_smoothing"])
        return function(*args, **kwargs)

    rng = np.random.default_rng(0)
    y, logits = rng.integers(0, 3, (2, 9, 8)), rng.normal(size=(2, 3, 4, 3)).astype("float32")
    y[:, 0] = 255
    losses = [*regions, *entropy]
    weight = rng.uniform(size=y.shape).astype("float32")
    expected = sum(value(loss, y, logits, weight) for loss in losses)
    monkeypatch.setattr(kseg_ops, "resize_softmax_cross_entropy_and_dice", counted)
    assert value(WeightedSum(losses), y, logits, weight) == pytest.approx(expected, rel=8 * EPS * len(losses))
    assert calls == [0.1 if entropy else 0.0]
    calls.clear()
    # What has another void label has sums of its own.
    value(WeightedSum([Jaccard(ignore_index=7), *losses]), np.where(y == 255, 1, y), logits, weight)
    assert len(calls) == 2


def test_config_keeps_every_argument():
    common = {
        "ignore_index": 7,
        "absent": "one",
        "smooth": 0.5,
        "class_weights": (1.0, 2.0),
        "per_image": True,
        "reduction": "none",
        "name": "a",
    }
    tversky = {"alpha": 0.1, "beta": 0.2, **common}
    for kind, arguments in ((Jaccard, common), (Tversky, tversky), (FocalTversky, {"gamma": 1.5, **tversky})):
        loss = kind(**arguments)
        assert loss.get_config() == arguments
        assert kind.from_config(loss.get_config()).get_config() == arguments


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Jaccard(smooth=-1), "smooth must be at least 0; got -1"),
        (lambda: Jaccard(absent="none"), "absent must be one of .* got 'none'"),
        (lambda: Jaccard(reduction="average"), "reduction must be one of .* got 'average'"),
        (lambda: Jaccard(per_image="no"), "per_image must be True or False; got 'no'"),
        (lambda: Tversky(alpha=-1), "alpha must be at least 0; got -1"),
        (lambda: Tversky(beta=math.inf), "beta must be at least 0; got inf"),
        (lambda: Tversky(0, 0), "alpha and beta must not both be 0"),
        (lambda: FocalTversky(gamma=0), "gamma must be above 0; got 0"),
        (lambda: FocalTversky(gamma="a"), "gamma must be above 0; got 'a'"),
        (lambda: Jaccard(class_weights=[1, 2, 3])(LABELS, LOGITS), "has 3 weights, but the logits have 2 classes"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
