"""One loss at several outputs."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.losses import CrossEntropy, DeepSupervision, Dice, LovaszSoftmax, WeightedSum

EPS = float(np.finfo("float32").eps)
CLOSE = 32 * EPS


def outputs():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, (2, 16, 16))
    y[:, :3] = 255
    return y, [rng.normal(size=(2, size, size, 3)).astype("float32") for size in (16, 8, 5)]


@pytest.mark.parametrize("loss", [CrossEntropy(), LovaszSoftmax(), WeightedSum([CrossEntropy(), Dice()])])
def test_a_weighted_sum_over_outputs(loss):
    y, logits = outputs()
    weight = np.random.default_rng(1).uniform(size=y.shape)
    for sample_weight in (None, weight):
        each = [float(loss(y, x, sample_weight=sample_weight)) for x in logits]
        expected = each[0] + 0.5 * each[1] + 0.25 * each[2]
        given = DeepSupervision(loss, [1, 0.5, 0.25])(y, logits, sample_weight)
        assert float(given) == pytest.approx(expected, rel=CLOSE)
        halved = DeepSupervision(loss)(y, tuple(logits), sample_weight)
        assert float(halved) == pytest.approx(expected * 4 / 7, rel=CLOSE)


def test_outputs_by_name():
    y, (first, second, _) = outputs()
    loss = DeepSupervision(CrossEntropy(), {"out": 1.0, "aux": 0.4})
    expected = float(CrossEntropy()(y, first)) + 0.4 * float(CrossEntropy()(y, second))
    assert float(loss(y, {"aux": second, "out": first})) == pytest.approx(expected, rel=CLOSE)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert float(again(y, {"aux": second, "out": first})) == float(loss(y, {"aux": second, "out": first}))


@keras.saving.register_keras_serializable(package="kseg_tests")
class Supervised(keras.Model):
    """A model with outputs at two resolutions."""

    def __init__(self, supervision, **kwargs):
        super().__init__(**kwargs)
        self.supervision = supervision
        self.first, self.second = keras.layers.Conv2D(3, 1), keras.layers.Conv2D(3, 2, strides=2)

    def call(self, x):
        return [self.first(x), self.second(x)]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return self.supervision(y, y_pred, sample_weight)

    def get_config(self):
        return {**super().get_config(), "supervision": keras.losses.serialize(self.supervision)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.losses.deserialize(config.pop("supervision")), **config)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_training_a_model_of_two_outputs(jit_compile, tmp_path):
    y, (x, _, _) = outputs()
    model = Supervised(DeepSupervision(CrossEntropy(), [1.0, 0.4]))
    model.compile("sgd", jit_compile=jit_compile)
    losses = model.fit(x, y, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.supervision.get_config() == model.supervision.get_config()
    assert float(again.supervision(y, again(x))) == float(model.supervision(y, model(x)))


def test_every_output_gets_a_gradient():
    y, logits = outputs()
    logits = [tf.constant(x) for x in logits]
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = DeepSupervision(CrossEntropy(), [1.0, 0.0, 2.0])(y, logits)
    for weight, x, gradient in zip([1.0, 0.0, 2.0], logits, tape.gradient(loss, logits), strict=True):
        with tf.GradientTape() as single:
            single.watch(x)
            alone = weight * CrossEntropy()(y, x)
        np.testing.assert_allclose(gradient, single.gradient(alone, x), rtol=CLOSE, atol=EPS)


def test_config_keeps_every_argument():
    for weights in (None, [1.0, 0.5], {"a": 1.0}):
        loss = DeepSupervision(CrossEntropy(label_smoothing=0.1), weights, "name")
        config = loss.get_config()
        assert config["weights"] == weights
        again = DeepSupervision.from_config(config)
        assert again.get_config() == config
        assert again.loss.label_smoothing == 0.1


Y, LOGITS = np.zeros((1, 4, 4), int), np.zeros((1, 4, 4, 2), "float32")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DeepSupervision(None), "loss must be a loss; got None"),
        (lambda: DeepSupervision(Dice(), []), r"weights must be finite numbers, one per output, .* got \[\]"),
        (lambda: DeepSupervision(Dice(), ["a"]), r"weights must be finite numbers, one per output, .* got \['a'\]"),
        (lambda: DeepSupervision(Dice())(Y, LOGITS), r"got one tensor of shape \(1, 4, 4, 2\).*compute_loss"),
        (lambda: DeepSupervision(Dice(), [1, 2])(Y, [LOGITS]), r"one number per output .* there are 1; got \[1, 2\]"),
        (lambda: DeepSupervision(Dice())(Y, []), "one number per output .* there are 0"),
        (lambda: DeepSupervision(Dice(), {"a": 1})(Y, [LOGITS]), r"one number per output .* got \{'a': 1\}"),
        (lambda: DeepSupervision(Dice())(Y, {"a": LOGITS}), r"a dict of \['a'\]: weights must be a dict .* got None"),
        (lambda: DeepSupervision(Dice(), {"b": 1})(Y, {"a": LOGITS}), r"a dict of \['a'\]: .* got \{'b': 1\}"),
        (lambda: DeepSupervision(Dice())(Y, [LOGITS[:, :2], np.zeros((1, 5, 5, 2))]), "do not fit logits"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
