"""What holds for every loss, and each against its plain reference in float64."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg._corner_alignment import aligned_corners
from kseg.layers._interpolation import resize_bilinear
from tests.helpers.loss_cases import CASES, draw, gradient

EPS = float(np.finfo("float32").eps)
# Softmax, powers and sums of some 60 numbers of the loss's size: the softmax alone has a few roundings per number.
CLOSE = 64 * EPS

every = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@every
def test_value_and_gradient_against_the_reference(case):
    """The reference's slope by central differences in float64, whose error is about h**2 + 1e-16 / h = 1e-10."""
    y, logits = draw(case)
    value, slopes = gradient(case, case.make(), y, logits)
    wide = logits.astype("float64")
    expected = case.reference(y, wide)
    assert value.dtype == tf.float32
    np.testing.assert_allclose(value, expected, rtol=CLOSE)
    step = 1e-5
    differences = np.zeros_like(wide)
    for place in np.ndindex(wide.shape):
        up, down = wide.copy(), wide.copy()
        up[place] += step
        down[place] -= step
        differences[place] = (case.reference(y, up) - case.reference(y, down)) / (2 * step)
    scale = np.abs(differences).max()
    assert scale > 0
    np.testing.assert_allclose(slopes, differences, rtol=CLOSE, atol=CLOSE * scale + 1e-9 * abs(expected))


@every
def test_a_perfect_prediction_is_the_minimum(case):
    y, _ = draw(case)
    loss = case.make()
    safe = np.where(y == 255, 0, y)
    perfect = 30 * np.eye(case.channels, dtype="float32")[safe]
    least = float(case.value(loss, y, perfect))
    assert least == pytest.approx(case.reference(y, perfect), abs=CLOSE * max(abs(least), 1))
    rng = np.random.default_rng(3)
    for scale in (0.1, 1.0, 10.0, 30.0):
        for _ in range(5):
            assert float(case.value(loss, y, rng.normal(size=perfect.shape).astype("float32") * scale)) > least
    # One wrong pixel is worse, whichever it is.
    for place in zip(*np.nonzero(y != 255), strict=True):
        wrong = perfect.copy()
        wrong[place] = np.roll(wrong[place], 1)
        assert float(case.value(loss, y, wrong)) > least


@every
def test_void_pixels_change_neither_value_nor_gradient(case):
    y, logits = draw(case)
    void = y == 255
    rng = np.random.default_rng(1)
    garbage = (rng.normal(size=logits.shape) * 10.0 ** rng.integers(0, 30, logits.shape)).astype("float32")
    other = np.where(void[..., None], garbage, logits)
    step = functools.partial(gradient, case, case.make())
    for weight in (np.ones(y.shape, "float32"), rng.uniform(0.5, 2, y.shape).astype("float32")):
        first, second = (step(y, tf.constant(x), weight) for x in (logits, other))
        np.testing.assert_array_equal(first[0], second[0])
        slopes = np.asarray(first[1])
        np.testing.assert_array_equal(slopes, second[1])
        assert not slopes[void].any()
        assert slopes[~void].any()


@every
def test_permuted_classes_give_the_same(case):
    y, logits = draw(case)
    order = np.array([2, 0, 1])[: case.channels] if case.channels == 3 else np.arange(case.channels)
    if case.weighted is None:
        pytest.skip("foreground and background have different parts in this loss")
    permuted = np.where(y == 255, 255, np.argsort(order)[np.where(y == 255, 0, y)])
    weights = [1.0, 5.0, 0.2]
    for weighting in (None, weights):
        pair = [case.make()] * 2
        if weighting is not None:
            pair = [case.weighted(weights), case.weighted([weights[c] for c in order])]
        value, slopes = gradient(case, pair[0], y, logits)
        value_2, slopes_2 = gradient(case, pair[1], permuted, logits[..., order])
        np.testing.assert_allclose(value_2, value, rtol=CLOSE)
        np.testing.assert_allclose(slopes_2, np.asarray(slopes)[..., order], rtol=CLOSE, atol=CLOSE)
    unequal = case.value(case.weighted(weights), y, logits), case.value(case.weighted(weights[::-1]), y, logits)
    assert float(unequal[0]) != pytest.approx(float(unequal[1]), rel=1e-3)


@every
def test_constant_sample_weights(case):
    """They scale what is a mean over pixels, and cancel in ratios of sums (but for smooth)."""
    y, logits = draw(case)
    loss = case.make()
    plain = float(case.value(loss, y, logits))
    assert float(case.value(loss, y, logits, np.float32(1))) == pytest.approx(plain, rel=CLOSE)
    if case.scaling is not None:
        weighted = float(case.value(loss, y, logits, np.full(y.shape, 3, "float32")))
        assert weighted == pytest.approx(3**case.scaling * plain, rel=CLOSE)


@every
def test_a_sample_weight_of_0_leaves_a_pixel_without_gradient(case):
    y, logits = draw(case)
    weight = np.random.default_rng(2).uniform(0.5, 2, y.shape).astype("float32")
    weight[:, 2:4, 1:3] = 0
    slopes = np.asarray(gradient(case, case.make(), y, logits, weight)[1])
    assert not slopes[weight == 0].any()
    assert slopes[(weight > 0) & (y != 255)].any()


@every
def test_only_void_pixels(case):
    y, logits = draw(case)
    value, slopes = functools.partial(gradient, case, case.make())(
        np.full_like(y, 255), tf.constant(logits), np.ones(y.shape, "float32")
    )
    assert float(value) == 0
    assert not np.asarray(slopes).any()


@every
@pytest.mark.parametrize("size", [(0, 3, 4), (2, 0, 4)])
def test_no_pixels(case, size):
    y, logits = np.zeros(size, "int32"), np.zeros((*size, case.channels), "float32")
    value, slopes = gradient(case, case.make(), y, logits)
    assert float(value) == 0
    assert slopes.shape == logits.shape


@every
def test_one_image_of_only_void_pixels(case):
    """The other is as if alone, except where the mean is over images."""
    y, logits = draw(case)
    y[1] = 255
    value, slopes = gradient(case, case.make(), y, logits)
    np.testing.assert_allclose(value, case.value(case.make(), y[:1], logits[:1]), rtol=CLOSE)
    assert not np.asarray(slopes)[1].any()


@every
def test_extreme_logits(case):
    y, logits = draw(case)
    rng = np.random.default_rng(5)
    step = functools.partial(gradient, case, case.make())
    right = 2e4 * np.eye(case.channels, dtype="float32")[np.where(y == 255, 0, y)] - 1e4
    for extreme in (right, -right, 1e4 * rng.choice([-1, 1], logits.shape), np.full(logits.shape, -1e4)):
        value, slopes = step(y, tf.cast(extreme, tf.float32), np.ones(y.shape, "float32"))
        assert np.isfinite(value)
        assert np.isfinite(slopes).all()


@every
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_logits(case, dtype):
    """Taken as they are and computed with in float32; only the gradient is rounded."""
    y, logits = draw(case)
    half = tf.cast(logits, dtype)
    value, slopes = gradient(case, case.make(), y, half)
    expected, expected_slopes = gradient(case, case.make(), y, tf.cast(half, tf.float32))
    assert value.dtype == tf.float32
    assert slopes.dtype == dtype
    np.testing.assert_array_equal(value, expected)
    tolerance = float(tf.cast(2.0 ** -(10 if dtype == "float16" else 7), tf.float32)) * case.outputs
    # float16 has no numbers between multiples of 2**-24.
    np.testing.assert_allclose(tf.cast(slopes, tf.float32), expected_slopes, rtol=tolerance, atol=2.0**-24)


@every
@pytest.mark.parametrize("align_corners", [False, True])
def test_small_logits_are_upsampled(case, align_corners):
    y, _ = draw(case, size=(2, 9, 11))
    logits = np.random.default_rng(1).normal(size=(2, 3, 4, case.channels)).astype("float32")
    weight = np.random.default_rng(2).uniform(0.5, 2, y.shape).astype("float32")
    with aligned_corners(align_corners):
        value, slopes = gradient(case, case.make(), y, logits, weight)
    with tf.GradientTape() as tape:
        small = tf.Variable(logits)
        full = resize_bilinear(small, y.shape[1:], align_corners=align_corners)
        expected = case.value(case.make(), y, full, weight)
    np.testing.assert_allclose(value, expected, rtol=2 * CLOSE)
    expected_slopes = tape.gradient(expected, small)
    scale = np.abs(expected_slopes).max()
    np.testing.assert_allclose(slopes, expected_slopes, rtol=2 * CLOSE, atol=2 * CLOSE * scale)


@every
def test_single_channel_logits_are_two_with_the_first_at_0(case):
    """The mean over classes then is the foreground's alone by default, hence the class weights."""
    rng = np.random.default_rng(4)
    y = rng.integers(0, 2, (2, 4, 5))
    y[:, 0, :2], y[:, 1, 0] = [0, 1], 255
    logits = rng.normal(size=(*y.shape, 1)).astype("float32")
    two = np.concatenate([np.zeros_like(logits), logits], -1)
    one, other = (case.make(), case.make()) if case.weighted is None else [case.weighted([1.0, 3.0])] * 2
    value, slopes = gradient(case, one, y, logits)
    value_2, slopes_2 = gradient(case, other, y, two)
    np.testing.assert_allclose(value, value_2, rtol=CLOSE)
    np.testing.assert_allclose(slopes, slopes_2[..., 1:], rtol=CLOSE, atol=CLOSE)


@every
def test_config_round_trip(case):
    y, logits = draw(case)
    loss = case.make()
    config = loss.get_config()
    assert type(loss).from_config(config).get_config() == config
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is type(loss)
    assert float(case.value(again, y, logits)) == float(case.value(loss, y, logits))
