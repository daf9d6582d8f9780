"""The metrics per class, against scikit-learn and on cases worked out by hand."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

import kseg_ops
from kseg.metrics import (
    BoundaryIoU,
    ConfusionMatrix,
    ConfusionMatrixReport,
    DiceScore,
    FrequencyWeightedIoU,
    MeanAccuracy,
    MeanIoU,
    MeanPrecision,
    MeanRecall,
    PerClassAccuracy,
    PerClassDice,
    PerClassIoU,
    PerClassPrecision,
    PerClassRecall,
    PixelAccuracy,
)

# Rows are labels, columns predictions. Class 2 is predicted and not labelled, class 3 the other way round, 4 neither.
LABELS = np.array([[[0, 0, 0, 1, 1, 3, 255]]])
PREDICTED = np.array([[[0, 0, 1, 1, 2, 0, 4]]])
NAN = float("nan")
PRECISION = [2 / 3, 1 / 2, 0, NAN, NAN]
RECALL = [2 / 3, 1 / 2, NAN, 0, NAN]
IOU = [2 / 4, 1 / 3, 0, 0, NAN]
DICE = [4 / 6, 2 / 4, 0, 0, NAN]
PAIRS = [
    (MeanPrecision, PerClassPrecision, PRECISION),
    (MeanRecall, PerClassRecall, RECALL),
    (MeanAccuracy, PerClassAccuracy, RECALL),
    (MeanIoU, PerClassIoU, IOU),
    (DiceScore, PerClassDice, DICE),
]
MEANS = [pair[0] for pair in PAIRS]


def result(metric, labels=LABELS, predicted=PREDICTED):
    metric.update_state(labels, predicted)
    return metric.result()


@pytest.mark.parametrize(("mean", "per_class", "expected"), PAIRS)
def test_by_hand(mean, per_class, expected):
    np.testing.assert_allclose([float(v) for v in result(per_class(5)).values()], expected, rtol=1e-6)
    assert float(result(mean(5))) == pytest.approx(np.nanmean(expected))
    for absent, value in (("one", 1.0), ("zero", 0.0)):
        filled = np.where(np.isnan(expected), value, expected)
        assert float(result(mean(5, absent=absent))) == pytest.approx(filled.mean())
        values = result(per_class(5, absent=absent)).values()
        np.testing.assert_allclose([float(v) for v in values], filled, rtol=1e-6)


def test_frequency_weighted_iou_by_hand():
    assert float(result(FrequencyWeightedIoU(5))) == pytest.approx((3 * 2 / 4 + 2 * 1 / 3 + 1 * 0) / 6)
    assert float(FrequencyWeightedIoU(5).result()) == 0


@pytest.mark.parametrize("seed", range(4))
def test_against_scikit_learn(seed):
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the oracle")
    rng = np.random.default_rng(seed)
    labels, predicted = rng.choice([0, 1, 2, 3, 255], (2, 9, 7)), rng.choice([0, 1, 2, 4], (2, 9, 7))
    valid = labels != 255
    arguments = {"y_true": labels[valid], "y_pred": predicted[valid], "labels": np.arange(6)}
    weights = np.bincount(labels[valid], minlength=6)
    for absent, fill in (("skip", NAN), ("one", 1.0), ("zero", 0.0)):
        scores = {
            "precision": sklearn.precision_score(**arguments, average=None, zero_division=fill),
            "recall": sklearn.recall_score(**arguments, average=None, zero_division=fill),
            "dice": sklearn.f1_score(**arguments, average=None, zero_division=fill),
        }
        # Its jaccard_score takes no NaN for zero_division.
        matrix = sklearn.confusion_matrix(**arguments)
        union = matrix.sum(0) + matrix.sum(1) - np.diag(matrix)
        scores["iou"] = np.where(union > 0, np.diag(matrix) / np.maximum(union, 1), fill)
        present = union > 0
        jaccard = sklearn.jaccard_score(**arguments, average=None, zero_division=0)
        np.testing.assert_allclose(scores["iou"][present], jaccard[present])
        scores["accuracy"] = scores["recall"]
        report = ConfusionMatrixReport(
            [per_class(6, absent=absent) for _, per_class, _ in PAIRS] + [mean(6, absent=absent) for mean in MEANS]
        )
        got = {name: float(value) for name, value in result(report, labels, predicted).items()}
        for name, expected in scores.items():
            np.testing.assert_allclose([got[f"{name}_{index}"] for index in range(6)], expected, rtol=1e-6)
            mean = "dice_score" if name == "dice" else f"mean_{name}"
            assert got[mean] == pytest.approx(np.nanmean(expected))
    weighted = sklearn.jaccard_score(**arguments, average="weighted", zero_division=0)
    assert float(result(FrequencyWeightedIoU(6), labels, predicted)) == pytest.approx(weighted)
    assert weights.sum() == valid.sum()


def test_permuting_the_classes_permutes_the_result():
    rng = np.random.default_rng(0)
    labels, predicted, order = rng.integers(0, 4, (1, 8, 8)), rng.integers(0, 4, (1, 8, 8)), np.array([2, 0, 3, 1])
    for mean, per_class, _ in PAIRS:
        before, after = (
            [float(v) for v in result(per_class(4), *maps).values()]
            for maps in ((labels, predicted), (order[labels], order[predicted]))
        )
        assert [after[place] for place in order] == before
        assert float(result(mean(4), order[labels], order[predicted])) == pytest.approx(np.mean(before))


def all_parts(num_classes):
    return [
        *(mean(num_classes) for mean, _, _ in PAIRS),
        *(per_class(num_classes) for _, per_class, _ in PAIRS),
        FrequencyWeightedIoU(num_classes),
        PixelAccuracy(num_classes),
        ConfusionMatrix(num_classes),
    ]


def test_a_report_counts_once_and_says_what_its_metrics_say(monkeypatch):
    calls = []
    count = kseg_ops.confusion_matrix
    monkeypatch.setattr(kseg_ops, "confusion_matrix", lambda *a, **k: calls.append(1) or count(*a, **k))
    report, alone = ConfusionMatrixReport(all_parts(5)), all_parts(5)
    got = result(report)
    assert len(calls) == 1
    assert len(report.variables) == 1
    expected = {}
    for metric in alone:
        value = result(metric)
        expected |= value if isinstance(value, dict) else {metric.name: value}
    assert set(got) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value)
    report.reset_state()
    assert float(report.result()["mean_iou"]) == 0


def test_a_report_in_a_model(tmp_path):
    """One confusion matrix in compile(), its results in the logs, saved and loaded."""
    images = keras.Input((None, None, 2))
    model = keras.Model(images, keras.layers.Conv2D(3, 1)(images))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 6, 5, 2)).astype("float32"), rng.choice([0, 1, 2, 255], (4, 6, 5))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    report = ConfusionMatrixReport([MeanPrecision(3), PerClassRecall(3, class_names=["a", "b", "c"])])
    model.compile("sgd", loss, metrics=[report], jit_compile=True)
    history = model.fit(x, y, batch_size=2, validation_data=(x, y), verbose=0).history
    assert {"mean_precision", "recall_a", "val_recall_c"} <= set(history)
    logs = model.evaluate(x, y, batch_size=2, verbose=0, return_dict=True)
    expected = result(
        ConfusionMatrixReport(report.parts.metrics), y, model.predict(x, verbose=0).argmax(-1).astype("int32")
    )
    for name, value in expected.items():
        assert logs[name] == pytest.approx(float(value))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.evaluate(x, y, batch_size=2, verbose=0, return_dict=True) == pytest.approx(logs)


@pytest.mark.parametrize("metric", all_parts(3) + [ConfusionMatrixReport(all_parts(3), name="all")], ids=repr)
def test_config_round_trip(metric):
    again = keras.metrics.deserialize(json.loads(json.dumps(keras.metrics.serialize(metric))))
    assert type(again) is type(metric)
    assert again.get_config() == metric.get_config()
    assert str(result(again, LABELS % 3, PREDICTED % 3)) == str(result(metric, LABELS % 3, PREDICTED % 3))


@pytest.mark.parametrize("make", [mean for mean, _, _ in PAIRS] + [FrequencyWeightedIoU])
def test_void_changes_nothing_and_nan_logits_are_the_lowest(make):
    logits = np.eye(5, dtype="float32")[PREDICTED]
    before = float(result(make(5), predicted=logits))
    changed = logits.copy()
    changed[LABELS == 255] = 100 * np.arange(5)
    assert float(result(make(5), predicted=changed)) == before
    logits[logits == 0] = np.nan
    assert float(result(make(5), predicted=logits)) == before


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ([], "metrics must be a list of at least one metric"),
        ("mean_iou", "metrics must be a list of at least one metric"),
        ([BoundaryIoU(2)], "made of a confusion matrix, as kseg.metrics.MeanIoU is; got <BoundaryIoU"),
        ([MeanIoU(2), MeanIoU(3, name="b")], "b has 3 and 255, mean_iou has 2 and 255"),
        ([MeanIoU(2), MeanIoU(2, ignore_index=0, name="b")], "b has 2 and 0, mean_iou has 2 and 255"),
        ([MeanIoU(2), MeanIoU(2)], "mean_iou comes twice"),
        ([PerClassIoU(2), MeanIoU(2, name="iou_1")], "iou_1 comes twice"),
    ],
)
def test_errors_of_a_report(metrics, message):
    with pytest.raises(ValueError, match=message):
        ConfusionMatrixReport(metrics)


def test_errors():
    with pytest.raises(ValueError, match="absent must be one of"):
        MeanPrecision(2, absent="nan")
    with pytest.raises(ValueError, match="class_names must be 3 different names"):
        PerClassRecall(3, class_names=["a", "b", "b"])
