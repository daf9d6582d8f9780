"""The calibration error, on cases worked out by hand and against scikit-learn."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.metrics import CalibrationError, native_steps

# Confidences 0.95, 0.95, 0.85, 0.55 and one void; right, wrong, right, wrong.
PROBABILITIES = np.array([[[[0.95, 0.05], [0.05, 0.95], [0.15, 0.85], [0.55, 0.45], [0.9, 0.1]]]], "float32")
LABELS = np.array([[[0, 0, 1, 1, 255]]])
GAPS = [0.95 - 1 / 2, 1 - 0.85, 0.55 - 0]
NUMBERS = [2, 1, 1]


def value(metric, labels=LABELS, scores=PROBABILITIES, weight=None):
    metric.update_state(labels, scores, weight)
    return float(metric.result())


def test_by_hand():
    expected = {
        "l1": np.dot(NUMBERS, GAPS) / 4,
        "l2": math.sqrt(np.dot(NUMBERS, np.square(GAPS)) / 4),
        "max": max(GAPS),
    }
    for norm, number in expected.items():
        assert value(CalibrationError(2, bins=10, norm=norm, from_logits=False)) == pytest.approx(number, rel=1e-6)
        logits = value(CalibrationError(2, bins=10, norm=norm), scores=np.log(PROBABILITIES))
        assert logits == pytest.approx(number, rel=1e-6)
        sigmoid = value(CalibrationError(1, bins=10, norm=norm, from_logits=False), scores=PROBABILITIES[..., 1:])
        assert sigmoid == pytest.approx(number, rel=1e-5)
    # One bin: mean confidence 0.825, half of them right.
    assert value(CalibrationError(2, bins=1, from_logits=False)) == pytest.approx(0.825 - 0.5)
    assert float(CalibrationError(2).result()) == 0


def test_what_is_always_right_and_sure_has_no_error():
    labels = np.random.default_rng(0).integers(0, 3, (2, 4, 5))
    logits = 200 * np.eye(3, dtype="float32")[labels]
    for norm in ("l1", "l2", "max"):
        assert value(CalibrationError(3, norm=norm), labels, logits) == 0
        assert value(CalibrationError(3, norm=norm), (labels + 1) % 3, logits) == 1


def test_edges_belong_to_the_bin_below():
    metric = CalibrationError(2, bins=4, from_logits=False)
    scores = np.array([[[[0.5, 0.5], [0.75, 0.25], [1, 0]]]], "float32")
    metric.update_state(np.zeros((1, 1, 3), int), scores)
    np.testing.assert_array_equal(metric.gaps()[0], [0, 1, 1, 1])


@pytest.mark.parametrize("bins", [7, 15])
@pytest.mark.parametrize("num_classes", [1, 2, 5])
def test_against_scikit_learn(bins, num_classes):
    calibration = pytest.importorskip("sklearn.calibration", reason="scikit-learn is the oracle")
    rng = np.random.default_rng(bins)
    count = max(num_classes, 2)
    logits = rng.normal(size=(3, 16, 17, num_classes)).astype("float32") * 2
    labels = rng.choice([*range(count), 255], (3, 16, 17))
    metric = CalibrationError(num_classes, bins=bins)
    for part in (slice(1), slice(1, 3)):
        metric.update_state(labels[part], logits[part])
    pairs = np.concatenate([np.zeros_like(logits), logits], -1) if num_classes == 1 else logits
    exponentials = np.exp(pairs.astype("float64"))
    probabilities = exponentials / exponentials.sum(-1, keepdims=True)
    valid = labels != 255
    confidence, right = probabilities.max(-1)[valid], (probabilities.argmax(-1) == labels)[valid]
    accuracy, mean = calibration.calibration_curve(right, confidence, n_bins=bins)
    numbers = np.histogram(confidence, np.linspace(0, 1, bins + 1))[0]
    numbers = numbers[numbers > 0]
    got_numbers, got_gaps = (np.asarray(part) for part in metric.gaps())
    np.testing.assert_array_equal(got_numbers[got_numbers > 0], numbers)
    # Probabilities are float32.
    np.testing.assert_allclose(got_gaps[got_numbers > 0], mean - accuracy, atol=1e-6)
    expected = np.dot(numbers, np.abs(mean - accuracy)) / numbers.sum()
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)


def test_weights():
    """Pixel weights of 2 and 0 are pixels that come twice and never; a weight per image is one of its pixels."""
    weights = np.array([[[2, 1, 0, 1, 5]]], "float32")
    labels, scores = LABELS[:, :, [0, 0, 1, 3]], PROBABILITIES[:, :, [0, 0, 1, 3]]
    metric = CalibrationError(2, from_logits=False)
    expected = value(CalibrationError(2, from_logits=False), labels, scores)
    assert value(metric, weight=weights) == pytest.approx(expected)
    two = value(
        CalibrationError(2, from_logits=False), np.tile(LABELS, (2, 1, 1)), np.tile(PROBABILITIES, (2, 1, 1, 1)), [1, 0]
    )
    assert two == pytest.approx(value(CalibrationError(2, from_logits=False)))


def test_void_and_nan():
    changed = np.log(PROBABILITIES)
    expected = value(CalibrationError(2, bins=10), scores=changed)
    changed[LABELS == 255] = np.nan
    assert value(CalibrationError(2, bins=10), scores=changed) == expected
    # NaN is -inf: a class without probability. Nothing but NaN: each is as probable as the other.
    logits = np.array([[[[0, np.nan], [np.nan, np.nan], [np.inf, 0]]]], "float32")
    metric = CalibrationError(2, bins=2)
    metric.update_state(np.array([[[0, 0, 0]]]), logits)
    np.testing.assert_allclose(metric.gaps(), [[1, 2], [-0.5, 0]])


def pixels(confidences, right):
    """Labels `(1, 1, n)` and probabilities of two classes."""
    confidences = np.asarray(confidences, "float32")
    return 1 - np.asarray(right, int)[None, None], np.stack([confidences, 1 - confidences], -1)[None, None]


def test_adaptive_bins_by_hand():
    """Pairs of a rising confidence: 0.55 and 0.65, 0.75 and 0.85, 0.95 and 0.99."""
    labels, scores = pixels([0.99, 0.55, 0.85, 0.65, 0.95, 0.75], [1, 0, 1, 1, 1, 0])
    gaps = np.array([0.6 - 1 / 2, 0.8 - 1 / 2, 0.97 - 1])
    for norm, expected in (
        ("l1", np.abs(gaps).mean()),
        ("l2", math.sqrt(np.square(gaps).mean())),
        ("max", 0.3),
    ):
        metric = CalibrationError(2, bins=3, norm=norm, from_logits=False, adaptive=True)
        assert value(metric, labels, scores) == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(metric.gaps()[0], [2, 2, 2])
    np.testing.assert_allclose(metric.gaps()[1], gaps, rtol=1e-5)
    # Pixels need not divide evenly: of three, the middle one is half of either bin.
    labels, scores = pixels([0.6, 0.8, 0.9], [0, 1, 1])
    metric = CalibrationError(2, bins=2, from_logits=False, adaptive=True)
    assert value(metric, labels, scores) == pytest.approx((abs(1.0 - 0.5) + abs(1.3 - 1.5)) / 3, rel=1e-6)
    # More bins than pixels: each pixel fills two.
    metric = CalibrationError(2, bins=6, from_logits=False, adaptive=True)
    assert value(metric, labels, scores) == pytest.approx((0.6 + 0.2 + 0.1) / 3, rel=1e-6)
    assert float(CalibrationError(2, adaptive=True).result()) == 0


def test_adaptive_bins_share_equal_confidences_evenly():
    labels, scores = pixels([0.75] * 8 + [1.0] * 8, [1, 1, 1, 0, 0, 1, 1, 1] + [1] * 8)
    metric = CalibrationError(2, bins=4, from_logits=False, adaptive=True)
    assert value(metric, labels, scores) == pytest.approx(0, abs=1e-9)
    # A weight of 2 is a pixel that comes twice, one of 0 none.
    labels, scores = pixels([0.6, 0.8, 0.9, 0.7], [0, 1, 1, 1])
    metric = CalibrationError(2, bins=2, from_logits=False, adaptive=True)
    weighted = value(metric, labels, scores, np.array([[[2, 1, 1, 0]]], "float32"))
    assert weighted == pytest.approx((abs(1.2 - 0) + abs(1.7 - 2)) / 4, rel=1e-6)


def test_adaptive_bins_against_sorting():
    rng = np.random.default_rng(0)
    confidence = 1 - 0.5 * 10 ** rng.uniform(-5, 0, 6000)  # most of them nearly 1
    right = rng.random(6000) < confidence**2
    metric = CalibrationError(2, bins=15, from_logits=False, adaptive=True)
    for part in (slice(2000), slice(2000, 6000)):
        metric.update_state(*pixels(confidence[part], right[part]))
    confidence = confidence.astype("float32").astype("float64")
    order = np.argsort(confidence)
    expected = np.abs((confidence - right)[order].reshape(15, -1).sum(1)).sum() / 6000
    # Only pixels of the cells at the 14 edges may be in another bin, and count there and not here, by at most 1 each.
    cells = np.asarray(metric.sums)[0]
    assert cells.max() < 25
    assert float(metric.result()) == pytest.approx(expected, abs=14 * 2 * cells.max() / 6000)
    np.testing.assert_allclose(metric.gaps()[0], 400)
    mean = np.asarray(metric.gaps()[1]) + np.diff(np.concatenate([[0], np.cumsum(right[order])[399::400]])) / 400
    np.testing.assert_allclose(mean, confidence[order].reshape(15, 400).mean(1), atol=2 * cells.max() / 400)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_adaptive_bins_in_graphs(jit_compile):
    labels, scores = pixels([0.99, 0.55, 0.85, 0.65, 0.95, 0.75], [1, 0, 1, 1, 1, 0])
    metric = CalibrationError(2, bins=3, from_logits=False, adaptive=True)
    tf.function(metric.update_state, jit_compile=jit_compile)(labels, scores)
    result = tf.function(metric.result, jit_compile=jit_compile)()
    assert float(result) == pytest.approx((0.1 + 0.3 + 0.03) / 3, rel=1e-5)


def test_small_logits_are_upsampled():
    rng = np.random.default_rng(0)
    small, labels = rng.normal(size=(2, 4, 5, 3)).astype("float32"), rng.integers(0, 3, (2, 9, 11))
    full = tf.image.resize(small, (9, 11))
    assert value(CalibrationError(3), labels, small) == pytest.approx(
        value(CalibrationError(3), labels, full), abs=1e-5
    )


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("native", [False, True])
def test_in_graphs(jit_compile, native):
    if native and jit_compile:
        pytest.skip("native_steps() says that XLA does not compile them")
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(2, 6, 7, 3)).astype("float32"), rng.integers(0, 3, (2, 6, 7))
    metric = CalibrationError(3)
    with native_steps() if native else tf.name_scope("plain"):
        tf.function(metric.update_state, jit_compile=jit_compile)(labels, logits)
    assert float(metric.result()) == pytest.approx(value(CalibrationError(3), labels, logits), abs=1e-6)


def test_in_a_model(tmp_path):
    images = keras.Input((None, None, 2))
    model = keras.Model(images, keras.layers.Conv2D(3, 1)(images))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 6, 5, 2)).astype("float32"), rng.choice([0, 1, 2, 255], (4, 6, 5))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    model.compile("sgd", loss, metrics=[CalibrationError(3, bins=5)], jit_compile=False)
    model.fit(x, y, batch_size=2, verbose=0)
    logs = model.evaluate(x, y, batch_size=2, verbose=0, return_dict=True)
    expected = value(CalibrationError(3, bins=5), y, model.predict(x, verbose=0))
    assert logs["calibration_error"] == pytest.approx(expected, abs=1e-6)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.evaluate(x, y, batch_size=2, verbose=0, return_dict=True) == pytest.approx(logs)


def test_state_and_config():
    first, second, both = (CalibrationError(2, bins=10, from_logits=False) for _ in range(3))
    first.update_state(LABELS, PROBABILITIES)
    second.update_state(LABELS[:, :, :1], PROBABILITIES[:, :, :1])
    both.merge_state([first, second])
    np.testing.assert_array_equal(both.gaps()[0], first.gaps()[0] + second.gaps()[0])
    both.reset_state()
    assert float(both.result()) == 0
    metric = CalibrationError(3, 7, bins=4, norm="max", from_logits=False, name="some")
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert again.get_config() == metric.get_config()
    with pytest.raises(ValueError, match="merge_state takes CalibrationError metrics of 10 bins"):
        both.merge_state([metric])
    adaptive = CalibrationError(2, bins=10, adaptive=True)
    assert keras.metrics.deserialize(keras.metrics.serialize(adaptive)).adaptive
    with pytest.raises(ValueError, match="merge_state takes CalibrationError metrics of 10 adaptive bins"):
        adaptive.merge_state([first])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CalibrationError(2, bins=0), "bins must be an int from 1 to 65536; got 0"),
        (lambda: CalibrationError(2, norm="l3"), "norm must be one of .*; got 'l3'"),
        (lambda: CalibrationError(3).update_state(LABELS, PROBABILITIES), "must have num_classes=3 channels"),
        (lambda: CalibrationError(2).update_state(LABELS, LABELS), "y_pred must be floating-point logits; got int64"),
        (
            lambda: CalibrationError(2, from_logits=False).update_state(LABELS, LABELS),
            "y_pred must be floating-point probabilities; got int64",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_label_out_of_range():
    with pytest.raises(tf.errors.InvalidArgumentError, match="9"):
        CalibrationError(2).update_state(np.full((1, 1, 5), 9), PROBABILITIES)
