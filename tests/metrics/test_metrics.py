"""The metrics, on cases worked out by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg.metrics import ConfusionMatrix, DiceScore, MeanIoU, PerClassIoU, PixelAccuracy, native_steps
from kseg_ops import _library

# Rows are labels, columns predictions; class 2 is absent from both sides.
LABELS = np.array([[[0, 0, 0, 1], [1, 1, 255, 255]]], "uint8")
PREDICTED = np.array([[[0, 0, 1, 1], [1, 0, 0, 1]]], "int32")
MATRIX = [[2, 1, 0], [1, 2, 0], [0, 0, 0]]
LOGITS = np.eye(3, dtype="float32")[PREDICTED]
IOU = 2 / 4  # of classes 0 and 1
DICE = 4 / 6
SIGMOID = np.where(PREDICTED == 1, 0.1, -0.1).astype("float32")[..., None]

ALL = [ConfusionMatrix, MeanIoU, DiceScore, PixelAccuracy, PerClassIoU]


def result(metric, y=LABELS, prediction=LOGITS):
    metric.update_state(y, prediction)
    return metric.result()


@pytest.mark.parametrize("prediction", [LOGITS, PREDICTED, PREDICTED[..., None]], ids=["logits", "classes", "channel"])
@pytest.mark.parametrize("last", [False, True])
def test_values(prediction, last):
    y = LABELS[..., None] if last else LABELS
    np.testing.assert_array_equal(result(ConfusionMatrix(3), y, prediction), MATRIX)
    assert float(result(MeanIoU(3), y, prediction)) == pytest.approx(IOU)
    assert float(result(DiceScore(3), y, prediction)) == pytest.approx(DICE)
    assert float(result(PixelAccuracy(3), y, prediction)) == pytest.approx(4 / 6)
    per_class = {name: float(value) for name, value in result(PerClassIoU(3), y, prediction).items()}
    assert per_class == {
        "iou_0": pytest.approx(IOU),
        "iou_1": pytest.approx(IOU),
        "iou_2": pytest.approx(np.nan, nan_ok=True),
    }


def test_absent_class():
    for absent, value in (("skip", IOU), ("one", (2 * IOU + 1) / 3), ("zero", 2 * IOU / 3)):
        assert float(result(MeanIoU(3, absent=absent))) == pytest.approx(value)
    for absent, value in (("skip", DICE), ("one", (2 * DICE + 1) / 3), ("zero", 2 * DICE / 3)):
        assert float(result(DiceScore(3, absent=absent))) == pytest.approx(value)
    for absent, value in (("one", 1), ("zero", 0)):
        assert float(result(PerClassIoU(3, absent=absent))["iou_2"]) == value


def test_predicted_but_not_labelled_counts_as_zero():
    """Class 1 has no label, one prediction: its IoU is 0 under every policy."""
    y, predicted = np.zeros((1, 1, 2), "uint8"), np.array([[[0, 1]]])
    for absent in ("skip", "one", "zero"):
        assert float(result(MeanIoU(2, absent=absent), y, predicted)) == pytest.approx((1 / 2 + 0) / 2)


def test_sigmoid_case():
    """One logit per pixel, foreground above 0; the matrix has two classes."""
    np.testing.assert_array_equal(result(ConfusionMatrix(1), LABELS, SIGMOID), [[2, 1], [1, 2]])
    assert float(result(MeanIoU(1), LABELS, SIGMOID)) == pytest.approx(IOU)
    assert set(result(PerClassIoU(1, class_names=["no", "yes"]), LABELS, SIGMOID)) == {"iou_no", "iou_yes"}
    zero = np.zeros((1, 1, 1, 1), "float32")
    np.testing.assert_array_equal(result(ConfusionMatrix(1), np.ones((1, 1, 1), "uint8"), zero), [[0, 0], [1, 0]])


@pytest.mark.parametrize("make", ALL)
def test_nothing_counted_yet(make):
    empty = make(2)
    void = make(2)
    void.update_state(np.full((1, 2, 2), 255, "uint8"), np.zeros((1, 2, 2, 2), "float32"))
    for metric in (empty, void):
        value = metric.result()
        if make is PerClassIoU:
            assert all(np.isnan(v) for v in value.values())
        else:
            np.testing.assert_array_equal(value, np.zeros_like(value))


@pytest.mark.parametrize("ignore_index", [None, -1, 1])
def test_ignore_index(ignore_index):
    y = np.array([[[0, 0, 1]]]) if ignore_index is None else np.array([[[0, 0, ignore_index]]])
    expected = [[1, 1], [0, 1]] if ignore_index is None else [[1, 1], [0, 0]]
    np.testing.assert_array_equal(result(ConfusionMatrix(2, ignore_index), y, np.array([[[0, 1, 1]]])), expected)


def test_state_accumulates_merges_and_resets():
    first, second = ConfusionMatrix(3), ConfusionMatrix(3)
    first.update_state(LABELS, LOGITS)
    first.update_state(LABELS, LOGITS)
    second.update_state(LABELS, LOGITS)
    first.merge_state([second, second])
    np.testing.assert_array_equal(first.result(), 4 * np.array(MATRIX))
    first.reset_state()
    np.testing.assert_array_equal(first.result(), np.zeros((3, 3)))
    np.testing.assert_array_equal(second.result(), MATRIX)
    with pytest.raises(ValueError, match=r"merge_state takes metrics over 3 classes; got .* over 2"):
        first.merge_state([ConfusionMatrix(2)])


def test_counts_are_exact_beyond_float32():
    """2**24 + 1 is the first count that float32 cannot hold, 2**31 the first beyond int32."""
    metric = ConfusionMatrix(2)
    metric.matrix.assign(np.array([[2**31, 0], [2**24, 0]], "int64"))
    metric.update_state(np.array([[[1]]]), np.array([[[0]]]))
    matrix = np.asarray(metric.result())
    assert matrix.dtype == np.int64
    np.testing.assert_array_equal(matrix, [[2**31, 0], [2**24 + 1, 0]])


@pytest.mark.parametrize("make", ALL)
def test_config_round_trip(make):
    metric = make(3, ignore_index=7, name="some", dtype="float32")
    if hasattr(metric, "absent"):
        metric.absent = "one"
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert type(again) is make
    assert again.get_config() == metric.get_config()
    assert (again.num_classes, again.ignore_index, again.name) == (3, 7, "some")


def test_class_names_are_kept():
    metric = PerClassIoU(2, class_names=("cell", "border"))
    again = PerClassIoU.from_config(metric.get_config())
    assert list(again.result()) == ["iou_cell", "iou_border"]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_results_are_float32_under_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        metric = MeanIoU(3)
    finally:
        keras.config.set_dtype_policy("float32")
    value = result(metric, prediction=tf.cast(LOGITS, policy.removeprefix("mixed_")))
    assert value.dtype == tf.float32
    assert float(value) == pytest.approx(IOU)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_inside_a_compiled_function(jit_compile):
    """In a graph of unknown purpose a metric must not place a native op that XLA would refuse."""
    metric = ConfusionMatrix(3)
    tf.function(metric.update_state, jit_compile=jit_compile)(LABELS, LOGITS)
    np.testing.assert_array_equal(metric.result(), MATRIX)


def op_types(function, *arguments):
    graph = tf.function(function).get_concrete_function(*arguments).graph
    return {op.type for op in graph.get_operations()}


@pytest.mark.parametrize("problem", ["", "no bridge"])
def test_native_ops_only_where_allowed(problem, monkeypatch):
    monkeypatch.setattr(_library, "xla_problem", lambda: problem)
    metric = ConfusionMatrix(3)

    def allowed(y, logits):
        with native_steps():
            metric.update_state(y, logits)
        metric.update_state(y, logits)  # not allowed any more

    with native_steps():
        pass
    anywhere = any(name.startswith("Kseg") for name in op_types(metric.update_state, LABELS, LOGITS))
    native = [
        op_types(lambda y, x: kseg_ops.confusion_matrix(y, x, 3), LABELS, LOGITS),
        op_types(allowed, LABELS, LOGITS),
    ]
    has_native = [any(name.startswith("Kseg") for name in types) for types in native]
    assert has_native[0] == has_native[1]  # both native, or no compiled library
    assert anywhere == (has_native[0] and not problem)


def test_in_a_plain_keras_model(tmp_path):
    """Compiled, run, saved and loaded by Keras, also with XLA."""
    images = keras.Input((None, None, 2))
    model = keras.Model(images, keras.layers.Conv2D(3, 1)(images))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 5, 6, 2)).astype("float32"), rng.integers(0, 3, (4, 5, 6))
    y[:, 0] = 255
    metrics = [make(3) for make in ALL]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    model.compile("sgd", loss, metrics=metrics, jit_compile=True)
    model.fit(x, y, batch_size=3, verbose=0)
    logs = model.evaluate(x, y, batch_size=3, verbose=0, return_dict=True)
    matrix = np.asarray(logs["confusion_matrix"])
    predicted = model.predict(x, verbose=0).argmax(-1)
    expected = np.zeros((3, 3), int)
    np.add.at(expected, (y[y != 255], predicted[y != 255]), 1)
    np.testing.assert_array_equal(matrix, expected)
    hits = np.diag(expected)
    iou = hits / (expected.sum(0) + expected.sum(1) - hits)
    assert logs["mean_iou"] == pytest.approx(iou.mean())
    assert [logs[f"iou_{index}"] for index in range(3)] == pytest.approx(iou)
    assert logs["pixel_accuracy"] == pytest.approx(hits.sum() / expected.sum())
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    loaded = again.evaluate(x, y, batch_size=3, verbose=0, return_dict=True)
    np.testing.assert_array_equal(loaded["confusion_matrix"], matrix)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MeanIoU(0), "num_classes must be a positive int; got 0"),
        (lambda: MeanIoU(70_000), "num_classes must be at most 65536"),
        (lambda: MeanIoU(2, ignore_index=1.5), "ignore_index must be an int or None; got 1.5"),
        (lambda: PixelAccuracy(2, ignore_index="a"), "ignore_index must be an int or None; got 'a'"),
        (lambda: MeanIoU(2, absent="nan"), "absent must be one of .* got 'nan'"),
        (lambda: PerClassIoU(3, class_names=["a", "b"]), "class_names must be 3 different names"),
        (lambda: PerClassIoU(2, class_names=["a", "a"]), "class_names must be 2 different names"),
        (
            lambda: MeanIoU(3).update_state(LABELS, LOGITS, sample_weight=1.0),
            "MeanIoU counts pixels .* `weighted_metrics`",
        ),
        (lambda: MeanIoU(3).update_state(LABELS == 0, LOGITS), r"labels \(y_true\) must be integers; got bool"),
        (lambda: MeanIoU(2).update_state(LABELS, LOGITS), r"must have num_classes=2 channels"),
        (lambda: MeanIoU(3).update_state(LABELS[:, :1], LOGITS), "the heights and widths must be equal"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_float_labels_must_be_whole():
    np.testing.assert_array_equal(result(ConfusionMatrix(3), LABELS.astype("float32")), MATRIX)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"must be whole numbers.*Found one with the fraction"):
        MeanIoU(3).update_state(LABELS / 2, LOGITS)


def test_label_out_of_range():
    with pytest.raises(tf.errors.InvalidArgumentError, match="9"):
        MeanIoU(3).update_state(np.full((1, 2, 4), 9), LOGITS)
