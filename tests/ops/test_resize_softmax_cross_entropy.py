"""`kseg_ops.resize_softmax_cross_entropy`: cases by hand, its reference, and the compiled kernel against float64."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg_ops.reference.resize_softmax_cross_entropy import resize_softmax_cross_entropy as reference
from tests.helpers.resize_softmax_cases import (
    CORE,
    EPS,
    SIZES,
    assert_close,
    exactly,
    loss_and_gradient,
    random_case,
    stock,
)

op = kseg_ops.resize_softmax_cross_entropy
both = pytest.mark.parametrize("function", [op, reference], ids=["op", "reference"])
WEIGHTS = {2: (0.5, 2.0), 3: (0.0, 1.0, 2.5), 21: tuple(0.1 * i for i in range(21))}


# -- by hand -----------------------------------------------------------------------------------------------------------


@both
def test_by_hand(function):
    """Upsampled by two, the difference of the two logits is 2, 1, -1, -2."""
    logits = tf.constant([[[[2.0, 0.0], [0.0, 2.0]]]])
    loss = function(tf.constant([[[0, 0, 1, 255]]]), logits)
    expected = [np.log1p(np.exp(-2.0)), np.log1p(np.exp(-1.0)), np.log1p(np.exp(-1.0)), 0]
    assert loss.dtype == tf.float32
    np.testing.assert_allclose(loss[0, 0], expected, rtol=8 * EPS)


@both
def test_align_corners_by_hand(function):
    """Corner pixels keep their centres: with three outputs the middle one has the mean of the two."""
    logits = tf.constant([[[[2.0, 0.0], [0.0, 2.0]]]])
    loss = function(tf.constant([[[0, 0, 0]]]), logits, align_corners=True)
    np.testing.assert_allclose(loss[0, 0], np.log1p(np.exp([-2.0, 0.0, 2.0])), rtol=8 * EPS)


@both
def test_gradient_by_hand(function):
    """One source pixel, uniform: each of six outputs hands back p - y, and the void one nothing."""
    logits = tf.zeros([1, 1, 1, 4])
    labels = tf.constant([[[0, 1, 1], [3, 255, 1]]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = function(labels, logits)
    np.testing.assert_allclose(tape.gradient(loss, logits)[0, 0, 0], [0.25, -1.75, 1.25, 0.25], rtol=8 * EPS)


@both
def test_label_smoothing_and_class_weights_by_hand(function):
    """Softmax of [log 3, 0] is (3/4, 1/4); with s = 0.2 the target of class 0 is (0.9, 0.1)."""
    logits = tf.constant([[[[np.log(3.0), 0.0]]]], tf.float32)
    expected = 0.9 * np.log(4 / 3) + 0.1 * np.log(4)
    loss = function(tf.constant([[[0, 255]]]), logits, class_weights=(2.0, 7.0), label_smoothing=0.2)
    np.testing.assert_allclose(loss[0, 0], [2 * expected, 0], rtol=8 * EPS)


@both
def test_one_channel_is_a_sigmoid(function):
    logits = tf.constant([[[[np.log(3.0)]]]], tf.float32)
    labels = tf.constant([[[0, 1, 255]]])
    np.testing.assert_allclose(function(labels, logits)[0, 0], [np.log(4), np.log(4 / 3), 0], rtol=8 * EPS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = function(labels, logits, class_weights=(1.0, 3.0))
    np.testing.assert_allclose(tape.gradient(loss, logits), [[[[0.75 - 3 * 0.25]]]], atol=4 * EPS)


@both
def test_ignore_index_wins_over_a_class(function):
    logits = tf.random.stateless_normal([1, 2, 2, 3], [1, 2])
    labels = np.array([[[0, 1], [2, 1]]])
    np.testing.assert_array_equal(function(tf.constant(labels), logits, ignore_index=1)[labels == 1], 0)
    assert np.all(function(tf.constant(labels), logits, ignore_index=None)[0] > 0)
    np.testing.assert_array_equal(function(tf.constant([[[-7, -7]]]), logits, ignore_index=-7), [[[0, 0]]])


# -- against the stock graph and float64 -------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_within_rounding_of_float64(function, sizes):
    for channels in (1, 3, 21):
        for align_corners in (False, True):
            smoothing = 0.1 if align_corners else 0.0
            weights = WEIGHTS.get(max(channels, 2)) if align_corners else None
            case = random_case(
                channels, sizes, channels, align_corners=align_corners, label_smoothing=smoothing, class_weights=weights
            )
            assert_close(case, function)


def test_float64_reference_is_the_stock_graph_at_a_power_of_two():
    """There positions are exact in float32 too."""
    case = random_case(0, ((4, 3), (16, 12)), 5)
    truth, peer = exactly(case), loss_and_gradient(stock, case)
    np.testing.assert_allclose(truth[0], peer[0], atol=16 * EPS)
    np.testing.assert_allclose(truth[1], peer[1], atol=16 * 16 * EPS)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_gradient_against_differences(channels, align_corners):
    """Central differences in float64, whose error is about eps / h + h**2 with h = eps**(1/3)."""
    case = random_case(3, ((3, 2), (5, 7)), channels)
    settings = {"label_smoothing": 0.1, "class_weights": WEIGHTS[max(channels, 2)], "align_corners": align_corners}
    logits = tf.cast(case.logits, tf.float64)

    def total(logits):
        return tf.reduce_sum(op(case.labels, logits, **settings) * tf.cast(case.upstream, tf.float64))

    theoretical, numerical = tf.test.compute_gradient(total, [logits], delta=6e-6)
    np.testing.assert_allclose(theoretical[0], numerical[0], atol=1e-8)
    assert np.abs(theoretical[0]).max() > 0.01


@pytest.mark.parametrize(("sizes", "align_corners"), [(SIZES[2], False), (SIZES[1], True)], ids=str)
def test_reference_compiles_under_xla(sizes, align_corners):
    case = random_case(4, sizes, 5, align_corners=align_corners, label_smoothing=0.1)

    def both_results(logits, labels):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = reference(labels, logits, **case.settings)
        return loss, tape.gradient(loss, logits)

    expected = both_results(case.logits, tf.constant(case.labels))
    unknown = [tf.TensorSpec([None, None, None, 5]), tf.TensorSpec([None, None, None], tf.int32)]
    for signature in (None, unknown):
        compiled = tf.function(both_results, jit_compile=True, input_signature=signature)
        for ours, theirs in zip(compiled(case.logits, tf.constant(case.labels)), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=64 * EPS)  # sums of up to 30 terms of order 1, reordered


def test_reference_under_xla_takes_a_bad_label_as_void():
    logits = tf.random.stateless_normal([1, 2, 2, 3], [1, 2])
    labels = tf.constant([[[0, 7], [-1, 2]]])
    loss = tf.function(reference, jit_compile=True)(labels, logits)
    np.testing.assert_array_equal(np.asarray(loss)[0] == 0, [[False, True], [True, False]])


# -- labels and errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_label_dtypes(dtype):
    logits = tf.random.stateless_normal([1, 2, 3, 4], [1, 2])
    labels = np.array([[[0, 1, 2, 3, 100, 3, 2], [0, 0, 1, 1, 100, 100, 0]]])
    expected = op(labels.astype(np.int32), logits, ignore_index=100)
    np.testing.assert_array_equal(op(labels.astype(dtype), logits, ignore_index=100), expected)
    labels[0, 1, 3] = 117
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?s)labels must be .*ignore_index=100.*117"):
        op(labels.astype(dtype), logits, ignore_index=100)


@pytest.mark.parametrize("label", [-1, 3, 2**32, 2**40 + 1, -(2**63)])
def test_labels_out_of_range_are_named(label):
    logits = tf.zeros([2, 2, 2, 3])
    labels = np.zeros((2, 5, 6), np.int64)
    labels[1, 2, 3] = label
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=rf"(?s)labels must be .*ignore_index=255.*[\s\[]{label}\b"
    ):
        op(labels, logits)
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"(?s)labels must be .*None.*{label}|{label}.*None"):
        tf.function(lambda: op(labels, logits, ignore_index=None))()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"labels": np.zeros((1, 2, 2), "float32")}, TypeError, "labels must be integers, got dtype float32"),
        ({"labels": np.zeros((1, 2, 2), bool)}, TypeError, "labels must be integers, got dtype bool"),
        ({"labels": np.zeros((2, 2), int)}, ValueError, r"labels must have shape \[B, H, W\], got \(2, 2\)"),
        ({"labels": np.zeros((3, 2, 2), int)}, ValueError, "labels must have the batch size of logits"),
        ({"logits": np.zeros((1, 2, 2, 3), int)}, TypeError, "logits must be float32, float16, .* got dtype int64"),
        ({"logits": np.zeros((2, 2, 3))}, ValueError, r"logits must have shape \[B, h, w, C\], got \(2, 2, 3\)"),
        ({"logits": np.zeros((1, 0, 2, 3))}, ValueError, r"at least 1, got shape \(1, 0, 2, 3\)"),
        ({"logits": np.zeros((1, 2, 2, 0))}, ValueError, r"at least 1, got shape \(1, 2, 2, 0\)"),
        ({"class_weights": (1.0, 2.0)}, ValueError, "class_weights must have one entry per class, 3, got 2"),
        ({"class_weights": (1.0, -1.0, 1.0)}, ValueError, "class_weights must be finite numbers of at least 0"),
        ({"class_weights": ()}, ValueError, r"class_weights must be finite .*got \(\)"),
        ({"class_weights": 3}, TypeError, "class_weights must be a sequence of numbers, one per class, got 3"),
        ({"label_smoothing": 1.0}, ValueError, r"label_smoothing must be in \[0, 1\), got 1.0"),
        ({"label_smoothing": float("nan")}, ValueError, r"label_smoothing must be in \[0, 1\), got nan"),
        ({"label_smoothing": "a"}, TypeError, "label_smoothing must be a number, got 'a' of type str"),
        ({"align_corners": "False"}, TypeError, "align_corners must be True or False, got 'False' of type str"),
        ({"ignore_index": 1.5}, TypeError, "ignore_index must be an integer, got 1.5"),
        ({"logits": keras.Input((2, 2, 3))}, TypeError, "logits is a KerasTensor.*kseg.losses.CrossEntropy"),
    ],
)
def test_bad_arguments(arguments, error, message):
    good = {"labels": np.zeros((1, 4, 4), int), "logits": np.zeros((1, 2, 2, 3), np.float32)}
    with pytest.raises(error, match=message):
        op(**{**good, **arguments})


@both
def test_unknown_shapes(function):
    case = random_case(5, SIZES[2], 3)
    expected = loss_and_gradient(function, case)
    for shape in (None, [None] * 4):
        signature = [tf.TensorSpec(shape and shape[:3], tf.int32), tf.TensorSpec(shape)]

        @tf.function(input_signature=signature)
        def results(labels, logits):
            with tf.GradientTape() as tape:
                tape.watch(logits)
                loss = function(labels, logits)
            return loss, tape.gradient(loss, logits, tf.constant(case.upstream))

        for ours, theirs in zip(results(case.labels, case.logits), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=8 * EPS)
        with pytest.raises(tf.errors.InvalidArgumentError, match="labels must have the batch size of logits"):
            results(case.labels[:1], case.logits)
    known = tf.function(function).get_concrete_function(
        tf.TensorSpec([2, 8, 9], tf.int32), tf.TensorSpec([None, 4, 4, 3])
    )
    assert known.output_shapes.as_list() == [2, 8, 9]


@both
@pytest.mark.parametrize(("batch", "size"), [(0, (4, 5)), (2, (0, 5)), (2, (4, 0))])
def test_nothing_to_do(function, batch, size):
    logits = tf.ones([batch, 2, 2, 3])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = function(tf.zeros([batch, *size], tf.int32), logits)
    assert loss.shape == (batch, *size)
    np.testing.assert_array_equal(tape.gradient(loss, logits), np.zeros(logits.shape))


@pytest.mark.skipif(CORE is None, reason="needs the compiled library")
def test_a_native_forward_can_have_a_reference_backward():
    case = random_case(6, SIZES[3], 4)
    with tf.GradientTape() as tape:
        tape.watch(case.logits)
        loss = op(case.labels, case.logits)
    with kseg_ops.use_reference():
        gradient = tape.gradient(loss, case.logits, tf.constant(case.upstream))
    np.testing.assert_allclose(gradient, loss_and_gradient(reference, case)[1], atol=8 * EPS)
