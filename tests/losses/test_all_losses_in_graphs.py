"""What holds for every loss in graphs, in steps that XLA compiles, and in models that are saved."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.helpers.loss_cases import CASES, draw, gradient

EPS = float(np.finfo("float32").eps)
CLOSE = 64 * EPS  # see test_all_losses.py

every = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
names = pytest.mark.parametrize("name", CASES)


@functools.cache
def compiled(name):
    """A step that XLA compiles, of `(y, logits, weights)`, for the loss of that name."""
    case, loss = CASES[name], CASES[name].make()
    return tf.function(lambda y, logits, weight: gradient(case, loss, y, logits, weight), jit_compile=True)


@names
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_graph_equals_eager_execution(name, jit_compile):
    case = CASES[name]
    y, logits = draw(case)
    weight = np.random.default_rng(1).uniform(0.5, 2, y.shape).astype("float32")
    eager = functools.partial(gradient, case, case.make())
    step = compiled(name) if jit_compile else tf.function(eager)
    results = (function(y, tf.constant(logits), weight) for function in (step, eager))
    for ours, theirs in zip(*results, strict=True):
        # A graph may add in another order.
        np.testing.assert_allclose(ours, theirs, rtol=CLOSE, atol=CLOSE * np.abs(theirs).max())


@names
def test_void_pixels_change_neither_value_nor_gradient(name):
    y, logits = draw(CASES[name])
    void = y == 255
    rng = np.random.default_rng(1)
    garbage = (rng.normal(size=logits.shape) * 10.0 ** rng.integers(0, 30, logits.shape)).astype("float32")
    other = np.where(void[..., None], garbage, logits)
    step = compiled(name)
    for weight in (np.ones(y.shape, "float32"), rng.uniform(0.5, 2, y.shape).astype("float32")):
        first, second = (step(y, tf.constant(x), weight) for x in (logits, other))
        np.testing.assert_array_equal(first[0], second[0])
        slopes = np.asarray(first[1])
        np.testing.assert_array_equal(slopes, second[1])
        assert not slopes[void].any()
        assert slopes[~void].any()


@every
def test_a_graph_of_unknown_sizes(case):
    y, logits = draw(case)
    loss = case.make()
    step = tf.function(
        lambda y, x: case.value(loss, y, x),
        input_signature=[tf.TensorSpec([None] * 3, tf.int32), tf.TensorSpec([None, None, None, case.channels])],
    )
    np.testing.assert_allclose(step(y, logits), case.value(loss, y, logits), rtol=CLOSE)


@names
def test_only_void_pixels(name):
    y, logits = draw(CASES[name])
    value, slopes = compiled(name)(np.full_like(y, 255), tf.constant(logits), np.ones(y.shape, "float32"))
    assert float(value) == 0
    assert not np.asarray(slopes).any()


@names
def test_extreme_logits(name):
    y, logits = draw(CASES[name])
    rng = np.random.default_rng(5)
    step = compiled(name)
    right = 2e4 * np.eye(CASES[name].channels, dtype="float32")[np.where(y == 255, 0, y)] - 1e4
    for extreme in (right, -right, 1e4 * rng.choice([-1, 1], logits.shape), np.full(logits.shape, -1e4)):
        value, slopes = step(y, tf.cast(extreme, tf.float32), np.ones(y.shape, "float32"))
        assert np.isfinite(value)
        assert np.isfinite(slopes).all()


@every
def test_saved_with_a_compiled_model(case, tmp_path):
    if case.outputs > 1:
        pytest.skip("Keras hands the outputs of a model to a compiled loss one at a time")
    y, x = draw(case)
    model = keras.Sequential([keras.Input((None, None, case.channels)), keras.layers.Conv2D(case.channels, 1)])
    model.compile("sgd", case.make())
    before = model.get_weights()[0]
    losses = model.fit(x, y, epochs=2, batch_size=2, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    assert np.any(model.get_weights()[0] != before)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again.loss) is type(model.loss)
    assert again.evaluate(x, y, verbose=0) == pytest.approx(model.evaluate(x, y, verbose=0), rel=CLOSE)
