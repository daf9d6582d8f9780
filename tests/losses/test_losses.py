"""The losses, on cases worked out by hand."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.losses import CrossEntropy, Dice, Focal, WeightedSum

LOG2, LOG4 = math.log(2), math.log(4)
EPS = float(np.finfo("float32").eps)
# A handful of float32 operations on numbers of order 1.
CLOSE = 32 * EPS

# Softmax of [log 3, 0] is (3/4, 1/4).
A, B = [math.log(3), 0.0], [0.0, math.log(3)]
LABELS = np.array([[[0, 0], [1, 255]]], "uint8")
LOGITS = np.array([[[A, B], [B, [50.0, -50.0]]]], "float32")
# Cross-entropies of the three valid pixels: log 4/3, log 4, log 4/3.
CE = [math.log(4 / 3), LOG4, math.log(4 / 3)]
# The same as single-channel logits: sigmoid of log 3 is 3/4.
SIGMOID = np.array([[[[-math.log(3)], [math.log(3)]], [[math.log(3)], [99.0]]]], "float32")

ALL = [CrossEntropy, Focal, Dice, lambda **kw: WeightedSum([CrossEntropy(**kw), Dice(**kw)])]
ids = ["cross_entropy", "focal", "dice", "sum"]


def value(loss, y=LABELS, logits=LOGITS, weight=None):
    return float(loss(y, logits, sample_weight=weight))


@pytest.mark.parametrize("logits", [LOGITS, SIGMOID], ids=["softmax", "sigmoid"])
def test_cross_entropy(logits):
    assert value(CrossEntropy(), logits=logits) == pytest.approx(sum(CE) / 3, rel=CLOSE)
    assert value(CrossEntropy(reduction="sum"), logits=logits) == pytest.approx(sum(CE), rel=CLOSE)
    pixels = CrossEntropy(reduction="none")(LABELS, logits)
    np.testing.assert_allclose(pixels, [[[CE[0], CE[1]], [CE[2], 0]]], rtol=CLOSE)
    np.testing.assert_allclose(CrossEntropy().call(LABELS, logits), pixels)


@pytest.mark.parametrize("logits", [LOGITS, SIGMOID], ids=["softmax", "sigmoid"])
def test_cross_entropy_class_weights_divide_by_their_sum(logits):
    expected = (1 * CE[0] + 1 * CE[1] + 4 * CE[2]) / (1 + 1 + 4)
    assert value(CrossEntropy(class_weights=[1, 4]), logits=logits) == pytest.approx(expected, rel=CLOSE)


def test_cross_entropy_label_smoothing():
    """With s = 0.2 the target is (0.9, 0.1) either way; on p = (3/4, 1/4) with label 0."""
    expected = 0.9 * math.log(4 / 3) + 0.1 * LOG4
    y = np.array([[[0]]])
    assert value(CrossEntropy(label_smoothing=0.2), y, LOGITS[:, :1, :1]) == pytest.approx(expected, rel=CLOSE)
    assert value(CrossEntropy(label_smoothing=0.2), y, SIGMOID[:, :1, :1]) == pytest.approx(expected, rel=CLOSE)


def test_sample_weights():
    """Weights of pixels scale the sum; Keras's mean divides by the number, the weighted one by their sum."""
    weight = np.array([[[2.0, 0.0], [1.0, 100.0]]])
    expected = 2 * CE[0] + CE[2]
    assert value(CrossEntropy(), weight=weight) == pytest.approx(expected / 3, rel=CLOSE)
    assert value(CrossEntropy(), weight=weight[..., None]) == pytest.approx(expected / 3, rel=CLOSE)
    loss = CrossEntropy(reduction="mean_with_sample_weight")
    assert value(loss, weight=weight) == pytest.approx(expected / 3, rel=CLOSE)
    assert value(loss, weight=2 * weight) == pytest.approx(expected / 3, rel=CLOSE)
    two = np.concatenate([LABELS, LABELS]), np.concatenate([LOGITS, LOGITS])
    for per_image in ([1.0, 3.0], [[1.0], [3.0]]):
        assert value(CrossEntropy(), *two, np.array(per_image)) == pytest.approx(4 * sum(CE) / 6, rel=CLOSE)


@pytest.mark.parametrize("logits", [LOGITS, SIGMOID], ids=["softmax", "sigmoid"])
def test_focal(logits):
    """(1 - p)^2 CE with p = 3/4, 1/4, 3/4."""
    terms = [CE[0] / 16, CE[1] * 9 / 16, CE[2] / 16]
    assert value(Focal(), logits=logits) == pytest.approx(sum(terms) / 3, rel=CLOSE)
    assert value(Focal(gamma=0), logits=logits) == pytest.approx(sum(CE) / 3, rel=CLOSE)
    weighted = (terms[0] + terms[1] + 4 * terms[2]) / 3  # alpha is a factor, the mean is over pixels
    assert value(Focal(class_weights=[1, 4]), logits=logits) == pytest.approx(weighted, rel=CLOSE)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_gradient_of_a_certain_pixel_is_finite(gamma):
    """1 - p is exactly 0 here, and its power below 1 has an infinite slope."""
    logits = tf.Variable([[[[200.0, -200.0]]]])
    with tf.GradientTape() as tape:
        loss = Focal(gamma=gamma)(np.array([[[0]]]), logits)
    np.testing.assert_array_equal(tape.gradient(loss, logits), np.zeros((1, 1, 1, 2)))


def test_dice():
    """Class 0: overlap 3/4 + 1/4, predicted 3/4 + 1/4 + 1/4, labelled 2. Class 1: 3/4, 1/4 + 3/4 + 3/4, 1."""
    dice0, dice1 = 2 * 1.0 / (1.25 + 2), 2 * 0.75 / (1.75 + 1)
    assert value(Dice(smooth=0)) == pytest.approx(1 - (dice0 + dice1) / 2, rel=CLOSE)
    smooth0, smooth1 = (2 * 1.0 + 1) / (1.25 + 2 + 1), (2 * 0.75 + 1) / (1.75 + 1 + 1)
    assert value(Dice()) == pytest.approx(1 - (smooth0 + smooth1) / 2, rel=CLOSE)
    assert value(Dice(smooth=0, class_weights=[1, 3])) == pytest.approx(1 - (dice0 + 3 * dice1) / 4, rel=CLOSE)
    assert value(Dice(smooth=0), logits=SIGMOID) == pytest.approx(1 - dice1, rel=CLOSE)
    both = value(Dice(smooth=0, class_weights=[1, 1]), logits=SIGMOID)
    assert both == pytest.approx(1 - (dice0 + dice1) / 2, rel=CLOSE)


def test_dice_of_an_absent_class():
    """Three classes, of which the third is not labelled; uniform logits predict each with 1/3."""
    y, logits = np.array([[[0, 1, 1]]]), np.zeros((1, 1, 3, 3), "float32")
    dice0, dice1 = 2 / 3 / (1 + 1), 4 / 3 / (1 + 2)
    present = 2 - dice0 - dice1
    assert value(Dice(smooth=0), y, logits) == pytest.approx(present / 2, rel=CLOSE)
    assert value(Dice(smooth=0, absent="one"), y, logits) == pytest.approx(present / 3, rel=CLOSE)
    assert value(Dice(smooth=0, absent="count"), y, logits) == pytest.approx((present + 1) / 3, rel=CLOSE)


def test_dice_per_image():
    """One image of label 0 with p = 3/4, one of label 1 with p = 1/4 for its class, one that is void."""
    y = np.array([0, 1, 255]).reshape(3, 1, 1)
    logits = np.array([A, A, A], "float32").reshape(3, 1, 1, 2)
    first, second = 1 - 1.5 / 1.75, 1 - 0.5 / 1.25
    loss = Dice(smooth=0, per_image=True)
    assert value(loss, y, logits) == pytest.approx((first + second) / 2, rel=CLOSE)
    each = Dice(smooth=0, per_image=True, reduction="none")(y, logits)
    np.testing.assert_allclose(each, [first, second, 0], rtol=CLOSE)
    total = Dice(smooth=0, per_image=True, reduction="sum")
    assert value(total, y, logits) == pytest.approx(first + second, rel=CLOSE)


def test_dice_weight_zero_is_void():
    y = np.where(LABELS == 255, 0, LABELS)
    assert value(Dice(), y, weight=np.array([[[1, 1], [1, 0]]])) == pytest.approx(value(Dice()), rel=CLOSE)


def test_weighted_sum():
    loss = WeightedSum([CrossEntropy(), Dice(smooth=0)], [0.5, 2])
    expected = 0.5 * value(CrossEntropy()) + 2 * value(Dice(smooth=0))
    assert value(loss) == pytest.approx(expected, rel=CLOSE)
    weight = np.array([[[2.0, 0.0], [1.0, 1.0]]])
    expected = value(CrossEntropy(), weight=weight) + value(Dice(), weight=weight)
    assert value(WeightedSum([CrossEntropy(), Dice()]), weight=weight) == pytest.approx(expected, rel=CLOSE)


@pytest.mark.parametrize("make", ALL, ids=ids)
@pytest.mark.parametrize("ignore_index", [255, -1, 100, 2**31 - 1])
@pytest.mark.parametrize("jit_compile", [None, False, True])
def test_void_pixels_change_neither_value_nor_gradient(make, ignore_index, jit_compile):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, (2, 5, 4)).astype("int64")
    void = rng.random(y.shape) < 0.3
    y[void] = ignore_index
    logits = rng.normal(size=(2, 5, 4, 3)).astype("float32")
    other = np.where(void[..., None], rng.normal(size=logits.shape) * 1e4, logits).astype("float32")
    loss = make(ignore_index=ignore_index)

    def value_and_gradient(y, logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            result = loss(y, logits)
        return result, tape.gradient(result, logits)

    if jit_compile is not None:
        value_and_gradient = tf.function(value_and_gradient, jit_compile=jit_compile)
    first, second = (value_and_gradient(tf.constant(y), tf.constant(x)) for x in (logits, other))
    assert float(first[0]) == float(second[0])
    np.testing.assert_array_equal(first[1], second[1])
    np.testing.assert_array_equal(np.asarray(first[1])[void], 0)
    assert np.any(np.asarray(first[1])[~void] != 0)


@pytest.mark.parametrize("make", ALL, ids=ids)
@pytest.mark.parametrize("logits", [LOGITS, SIGMOID], ids=["softmax", "sigmoid"])
def test_all_void_is_zero(make, logits):
    logits = tf.Variable(logits)
    with tf.GradientTape() as tape:
        loss = make()(np.full((1, 2, 2), 255, "uint8"), logits)
    assert float(loss) == 0
    np.testing.assert_array_equal(tape.gradient(loss, logits), np.zeros(logits.shape))


@pytest.mark.parametrize("make", ALL, ids=ids)
def test_gradient_against_differences(make):
    """Central differences; in float32 their error is about eps / h + h^2, so h = eps**(1/3)."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, (1, 3, 3))
    y[0, 0, 0] = 255
    logits, direction = rng.normal(size=(2, 1, 3, 3, 3)).astype("float32")
    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        loss = make()(y, variable)
    slope = float(tf.reduce_sum(tape.gradient(loss, variable) * direction))
    step = EPS ** (1 / 3)
    difference = (value(make(), y, logits + step * direction) - value(make(), y, logits - step * direction)) / (
        2 * step
    )
    # The loss is of order 1 and sums 8 pixels: its own rounding, over the step, and the third derivative's share.
    assert slope == pytest.approx(difference, abs=8 * EPS / step + 10 * step**2)


@pytest.mark.parametrize("make", ALL, ids=ids)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_logits_are_summed_in_float32(make, dtype):
    """70,000 pixels: a sum of ones in float16 is infinite, in bfloat16 it stops at 256."""
    y = np.zeros((1, 1, 70_000), "uint8")
    logits = tf.zeros((1, 1, 70_000, 2), dtype)
    loss = make()(y, logits)
    assert loss.dtype == tf.float32
    expected = float(make()(y, tf.cast(logits, tf.float32)))
    assert float(loss) == expected
    # CE = log 2, focal = log 2 / 4, Dice = 1 - 2 * 0.5 / 1.5.
    known = {"cross_entropy": LOG2, "focal": LOG2 / 4, "dice": 1 / 3, "weighted_sum": LOG2 + 1 / 3}[make().name]
    assert float(loss) == pytest.approx(known, rel=1e-4)  # smooth=1 of 70,000 pixels


@pytest.mark.parametrize("make", ALL, ids=ids)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint16", "int32", "uint32", "int64", "uint64"])
def test_label_dtypes_and_shapes(make, dtype):
    y = np.where(LABELS == 255, 100, LABELS).astype(dtype)
    expected = value(make())
    assert value(make(ignore_index=100), y) == expected
    assert value(make(ignore_index=100), y[..., None]) == expected


@pytest.mark.parametrize("make", ALL, ids=ids)
def test_label_out_of_range(make):
    y = LABELS.copy()
    y[0, 1, 0] = 7
    message = r"labels \(y_true\) must be 0..1 or ignore_index=255; found"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message) as caught:
        make()(y, LOGITS)
    assert "7" in str(caught.value)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        tf.function(make())(y, LOGITS)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"must be 0..1 or ignore_index=None"):
        make(ignore_index=None)(LABELS, LOGITS)
    # 2**32 must not wrap to class 0.
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        make()(np.full((1, 2, 2), 2**32), LOGITS)
    # XLA drops the check: such a pixel is void there.
    void = np.where(y == 7, 255, y)
    # Different instruction order under XLA: a few roundings.
    assert float(tf.function(make(), jit_compile=True)(y, LOGITS)) == pytest.approx(value(make(), void), rel=CLOSE)


@pytest.mark.parametrize("make", ALL, ids=ids)
def test_config_round_trip(make):
    loss = make()
    config = loss.get_config()
    assert type(loss).from_config(config).get_config() == config
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is type(loss)
    assert value(again) == value(loss)


def test_config_keeps_every_argument():
    for loss in (
        CrossEntropy(7, [1, 2], 0.1, "sum", "a"),
        Focal(1.5, 7, [1, 2], "sum", "a"),
        Dice(7, "one", 0.5, [1, 2], True, "none", "a"),
    ):
        again = type(loss).from_config(loss.get_config())
        assert {k: v for k, v in vars(again).items() if not k.startswith("_")} == {
            k: v for k, v in vars(loss).items() if not k.startswith("_")
        }
        assert again.ignore_index == 7


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CrossEntropy(class_weights=[1, -1]), "class_weights must be finite numbers of at least 0"),
        (lambda: CrossEntropy(class_weights=[0, 0]), "class_weights must be finite numbers .* not all 0"),
        (lambda: CrossEntropy(label_smoothing=1), r"label_smoothing must be in \[0, 1\); got 1"),
        (lambda: CrossEntropy(reduction="average"), "reduction must be one of .* got 'average'"),
        (lambda: Focal(gamma=-1), "gamma must be at least 0; got -1"),
        (lambda: Focal(gamma=math.nan), "gamma must be at least 0; got nan"),
        (lambda: Focal(gamma="a"), "gamma must be at least 0; got 'a'"),
        (lambda: CrossEntropy(label_smoothing="a"), r"label_smoothing must be in \[0, 1\); got 'a'"),
        (lambda: CrossEntropy(class_weights={0: 1, 2: 1}), r"a weight for every class number .* the keys \[0, 2\]"),
        (lambda: CrossEntropy(class_weights={"0": 1, "1": 1}), r"a weight for every class number .* \['0', '1'\]"),
        (lambda: CrossEntropy(class_weights=["1", 1]), "class_weights must be finite numbers"),
        (lambda: CrossEntropy(class_weights=[1, None]), "class_weights must be finite numbers"),
        (lambda: CrossEntropy(class_weights={0: 1, 1: 1, 2: 1})(LABELS, LOGITS), "has 3 weights"),
        (lambda: Dice(smooth=math.nan), "smooth must be at least 0; got nan"),
        (lambda: WeightedSum([Dice()], [math.nan]), r"weights must be finite numbers, one per loss; got \[nan\]"),
        (lambda: WeightedSum([Dice()], ["a"]), r"weights must be finite numbers, one per loss; got \['a'\]"),
        (lambda: Dice(absent="zero"), "absent must be one of .* got 'zero'"),
        (lambda: Dice(smooth=-1), "smooth must be at least 0; got -1"),
        (lambda: Dice(reduction="average"), "reduction must be one of .* got 'average'"),
        (lambda: WeightedSum([]), "losses must hold at least one loss"),
        (lambda: WeightedSum([Dice()], [1, 2]), "weights must have one number per loss, 1; got 2"),
        (lambda: CrossEntropy(class_weights=[1, 2, 3])(LABELS, LOGITS), "has 3 weights, but the logits have 2 classes"),
        (lambda: CrossEntropy()(LABELS == 0, LOGITS), r"labels \(y_true\) must be integers; got bool"),
        (lambda: CrossEntropy()(LABELS[:, :1], LOGITS), r"shape \(1, 1, 2\) do not fit logits .* \(1, 2, 2, 2\)"),
        (lambda: CrossEntropy()(LABELS, LABELS[..., None]), "y_pred must be floating-point logits; got uint8"),
        (lambda: CrossEntropy()(LABELS, LOGITS, np.ones((1, 2))), r"sample_weight must be one weight per image"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", ALL, ids=ids)
@pytest.mark.parametrize("ignore_index", [1.5, "a", True, 2**63])
def test_ignore_index_must_be_a_label(make, ignore_index):
    with pytest.raises(ValueError, match=f"ignore_index must .* got {ignore_index!r}"):
        make(ignore_index=ignore_index)


@pytest.mark.parametrize("make", ALL, ids=ids)
def test_ignore_index_that_no_label_can_hold_voids_nothing(make):
    """Narrowed to 32 bits it would be class 1."""
    y = np.array([[[0, 0], [1, 1]]], "int32")
    assert value(make(ignore_index=2**32 + 1), y) == value(make(ignore_index=None), y)


def test_class_weights_by_class_number():
    for make in (CrossEntropy, Focal, Dice):
        assert value(make(class_weights={1: 4, 0: 1})) == value(make(class_weights=[1, 4]))
        assert make(class_weights={1: 4, 0: 1}).get_config()["class_weights"] == (1.0, 4.0)


@pytest.mark.parametrize("make", ALL, ids=ids)
def test_float_labels_must_be_whole(make):
    assert value(make(), LABELS.astype("float32")) == value(make())
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"must be whole numbers.*Found one with the fraction"):
        make()(LABELS / 2, LOGITS)


def test_sizes_unknown_until_run_time():
    spec = tf.TensorSpec([None, None, None], tf.int32), tf.TensorSpec([None, None, None, 2])
    loss = tf.function(CrossEntropy(), input_signature=spec)
    assert float(loss(LABELS.astype("int32"), LOGITS)) == pytest.approx(sum(CE) / 3, rel=CLOSE)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="must have the batch size, height and width of the logits"
    ):
        loss(LABELS[:, :1].astype("int32"), LOGITS)
