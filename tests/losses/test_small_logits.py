"""Losses of logits that are smaller than the labels: the same as upsampling them first."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg.losses import CrossEntropy, Dice, Focal, WeightedSum
from kseg.metrics import MeanIoU, native_steps
from kseg_ops import _library

EPS = float(np.finfo("float32").eps)
# Logits of order 3 through the interpolation, powers and sums of some hundred pixels: about that many roundings.
CLOSE = 256 * EPS

LOSSES = {
    "cross_entropy": lambda **kw: CrossEntropy(**kw),
    "weighted": lambda **kw: CrossEntropy(class_weights=[1, 2, 0.5], label_smoothing=0.1, **kw),
    "focal": lambda **kw: Focal(**kw),
    "dice": lambda **kw: Dice(**kw),
    "dice_per_image": lambda **kw: Dice(per_image=True, absent="count", class_weights=[1, 2, 3], **kw),
}


def case(seed=0, channels=3, dtype="float32"):
    rng = np.random.default_rng(seed)
    logits = tf.cast(rng.standard_normal((2, 4, 5, channels)), dtype)
    y = rng.integers(0, max(channels, 2), (2, 16, 17)).astype(np.uint8)
    y[rng.random(y.shape) < 0.2] = 255
    return y, logits


def value_and_gradient(loss, y, logits, weight=None, upsample=False):
    with tf.GradientTape() as tape:
        tape.watch(logits)
        given = tf.image.resize(logits, y.shape[1:3]) if upsample else logits
        result = loss(y, given, sample_weight=weight)
    return result, tape.gradient(result, logits)


def check(loss, y, logits, weight=None):
    ours, theirs = (value_and_gradient(loss, y, logits, weight, upsample) for upsample in (False, True))
    np.testing.assert_allclose(ours[0], theirs[0], rtol=CLOSE, atol=CLOSE)
    scale = np.abs(theirs[1]).max()
    assert scale > 0
    np.testing.assert_allclose(ours[1], theirs[1], rtol=CLOSE, atol=CLOSE * scale)


@pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "none"])
def test_as_if_upsampled_first(make, reduction):
    y, logits = case()
    rng = np.random.default_rng(1)
    loss = make(reduction=reduction)
    for weight in (None, 0.5, [1.0, 3.0], rng.uniform(size=(2, 1)), rng.uniform(size=y.shape)):
        check(loss, y, logits, None if weight is None else np.asarray(weight, np.float32))
    check(loss, y[..., None], logits, rng.uniform(size=(*y.shape, 1)).astype(np.float32))


def test_mean_with_sample_weight():
    y, logits = case()
    weight = np.random.default_rng(1).uniform(size=y.shape).astype(np.float32)
    check(CrossEntropy(reduction="mean_with_sample_weight", class_weights=[1, 2, 3]), y, logits, weight)


@pytest.mark.parametrize("make", [CrossEntropy, Focal, Dice, lambda: WeightedSum([CrossEntropy(), Dice()])])
def test_single_channel(make):
    check(make(), *case(channels=1))


def test_weighted_sum_takes_one_sweep(monkeypatch):
    calls = []
    for name in ("resize_softmax_cross_entropy", "resize_softmax_cross_entropy_and_dice"):
        function = getattr(kseg_ops, name)

        def counted(*args, name=name, function=function, **kwargs):
            calls.append(name)
            return function(*args, **kwargs)

        monkeypatch.setattr(kseg_ops, name, counted)
    y, logits = case()
    weight = np.random.default_rng(1).uniform(size=y.shape).astype(np.float32)
    check(WeightedSum([CrossEntropy(label_smoothing=0.1), Dice()], [0.5, 2.0]), y, logits, weight)
    assert calls == ["resize_softmax_cross_entropy_and_dice"]
    calls.clear()
    many = [Dice(per_image=True), CrossEntropy(class_weights=[1, 2, 3]), Focal(), Dice(smooth=2.0)]
    check(WeightedSum(many), y, logits, weight)
    assert sorted(calls) == ["resize_softmax_cross_entropy", "resize_softmax_cross_entropy_and_dice"]  # focal: its own
    calls.clear()
    check(WeightedSum([CrossEntropy(ignore_index=7), Dice()]), np.where(y == 255, 1, y), logits)
    assert sorted(calls) == ["resize_softmax_cross_entropy", "resize_softmax_cross_entropy_and_dice"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_logits(dtype):
    y, logits = case(dtype=dtype)
    loss = WeightedSum([CrossEntropy(), Dice()])
    value, gradient = value_and_gradient(loss, y, logits)
    expected = value_and_gradient(loss, y, tf.cast(logits, tf.float32))
    assert value.dtype == tf.float32
    assert gradient.dtype == dtype
    np.testing.assert_array_equal(value, expected[0])
    np.testing.assert_array_equal(gradient, tf.cast(expected[1], dtype))


@pytest.mark.parametrize(("jit_compile", "known"), [(False, True), (True, True), (True, False)])
def test_in_a_graph_of_any_owner(jit_compile, known):
    """Without `native_steps`, nobody says that XLA does not compile the graph: what runs is what XLA can compile."""
    y, logits = case()
    shapes = (y.shape, logits.shape) if known else ([None] * 3, [None, None, None, 3])
    signature = tf.TensorSpec(shapes[0], tf.uint8), tf.TensorSpec(shapes[1])
    loss = WeightedSum([CrossEntropy(), Dice()])
    step = tf.function(lambda y, x: value_and_gradient(loss, y, x), jit_compile=jit_compile, input_signature=signature)
    types = {operation.type for operation in step.get_concrete_function().graph.get_operations()}
    assert any(name.startswith("Kseg>") for name in types) == (not _library.xla_problem())
    expected = value_and_gradient(loss, y, logits)
    for ours, theirs in zip(step(tf.constant(y), logits), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=CLOSE, atol=CLOSE)
    if not known:
        full = tf.image.resize(logits, y.shape[1:3])
        np.testing.assert_allclose(step(tf.constant(y), full)[0], expected[0], rtol=CLOSE)


@pytest.mark.skipif(_library.core() is None, reason="needs the compiled library")
def test_native_where_a_graph_allows_it():
    y, logits = case()

    @tf.function
    def step(y, x):
        with native_steps():
            return WeightedSum([CrossEntropy(), Dice()])(y, x)

    graph = step.get_concrete_function(tf.TensorSpec(y.shape, tf.uint8), tf.TensorSpec(logits.shape)).graph
    types = [operation.type for operation in graph.get_operations()]
    assert [name for name in types if name.startswith("Kseg>")] == ["Kseg>ResizeSoftmaxCrossEntropyAndDice"]
    np.testing.assert_allclose(step(tf.constant(y), logits), WeightedSum([CrossEntropy(), Dice()])(y, logits))


def test_training_with_small_logits():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 16, 16, 3)), rng.integers(0, 2, (4, 16, 16))
    model = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(2, 3, strides=4, padding="same")])
    model.compile("sgd", WeightedSum([CrossEntropy(), Dice()]))
    losses = model.fit(x, y, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("make", [CrossEntropy, Focal, Dice, lambda: WeightedSum([CrossEntropy(), Dice()])])
def test_logits_larger_than_the_labels_are_refused(make):
    y, logits = case()
    for labels in (y[:, :3], y[:, :, :4], y[:1]):
        with pytest.raises(ValueError, match="Labels must have the logits' height and width, or larger ones"):
            make()(labels, logits)


def test_metrics_say_that_the_sizes_differ():
    y, logits = case()
    with pytest.raises(ValueError, match="the heights and widths must be equal"):
        MeanIoU(3).update_state(y, logits)


def test_a_label_out_of_range_is_named():
    y, logits = case()
    y[1, 2, 3] = 9
    for loss in (CrossEntropy(), Dice(), WeightedSum([CrossEntropy(), Dice()])):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?s)labels \(y_true\) must be 0..2 or .*9"):
            loss(y, logits)
