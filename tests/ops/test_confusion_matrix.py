"""`kseg_ops.confusion_matrix`: hand-worked cases, its reference, and the compiled kernel against the reference."""

from __future__ import annotations

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg_ops import _library
from kseg_ops.reference.confusion_matrix import confusion_matrix as reference

CORE = _library.core()
TARGETS = CORE.supported_simd_targets() if CORE else []
FLOATS = ("float32", "float16", "bfloat16", "float64")
INTEGERS = ("uint8", "int8", "uint16", "int32", "int64")


def random_case(rng, shape, classes, dtype, ignore_index):
    """Labels (a fifth of them void) and predictions; logits hold ties, NaN and infinities, and whole pixels of NaN."""
    labels = rng.integers(0, classes, shape)
    labels = np.where(rng.random(shape) < 0.2, ignore_index, labels)
    if dtype not in FLOATS:
        return labels, tf.cast(rng.integers(0, classes, shape), dtype)
    logits = rng.integers(-3, 4, (*shape, classes)).astype(np.float64)
    logits[rng.random(logits.shape) < 0.2] = np.nan
    logits[rng.random(logits.shape) < 0.2] = -np.inf
    logits[rng.random(logits.shape) < 0.1] = np.inf
    logits[rng.random(shape) < 0.1] = np.nan
    logits[rng.random(shape) < 0.1] = -np.inf
    return labels, tf.cast(logits, dtype)


# -- by hand -----------------------------------------------------------------------------------------------------------


def test_logits_by_hand():
    labels = tf.constant([[0, 1, 255, 1, 2]])
    logits = tf.constant([[[2.0, 1, 0], [0, 3, 0], [9, 0, 0], [1, 0.5, 0.9], [0, 0, 7]]])
    counts = kseg_ops.confusion_matrix(labels, logits, 3)
    assert counts.dtype == tf.int64
    np.testing.assert_array_equal(counts, [[1, 0, 0], [1, 1, 0], [0, 0, 1]])


def test_classes_by_hand():
    counts = kseg_ops.confusion_matrix([0, 0, 1, 2, 2, 2], [0, 1, 1, 2, 0, 0], 3)
    np.testing.assert_array_equal(counts, [[1, 1, 0], [0, 1, 0], [2, 0, 1]])


def test_lowest_class_wins_ties_and_nan_counts_as_minus_infinity():
    nan, inf = np.nan, np.inf
    logits = [[1.0, 1, 1], [0, 2, 2], [nan, 0, 1], [nan, nan, nan], [nan, -inf, -inf], [-inf, nan, -1], [inf, nan, inf]]
    counts = kseg_ops.confusion_matrix(tf.range(7) * 0, tf.constant(logits), 3)
    np.testing.assert_array_equal(counts[0], [4, 1, 2])


def test_sigmoid_logit():
    logits = tf.constant([[-1.0], [0.0], [1e-6], [np.nan], [np.inf]])
    counts = kseg_ops.confusion_matrix([0, 1, 1, 1, 255], logits, 2)
    np.testing.assert_array_equal(counts, [[1, 0], [2, 1]])


def test_single_class_never_reads_a_sigmoid():
    np.testing.assert_array_equal(kseg_ops.confusion_matrix([0, 0], tf.constant([[5.0], [-5.0]]), 1), [[2]])


@pytest.mark.parametrize(
    ("ignore_index", "expected"),
    [(-1, [[1, 0], [0, 2]]), (0, [[0, 0], [0, 2]]), (-(2**40), None)],
)
def test_ignore_index(ignore_index, expected):
    labels = tf.constant([0, 1, 1, ignore_index], tf.int64)
    counts = kseg_ops.confusion_matrix(labels, [0, 1, 1, 1], 2, ignore_index=ignore_index)
    np.testing.assert_array_equal(counts, expected or [[1, 0], [0, 2]])


def test_ignore_index_that_the_label_type_cannot_hold_is_never_met():
    # 256 + 1 must not be taken for the uint8 label 1.
    counts = kseg_ops.confusion_matrix(tf.constant([0, 1], tf.uint8), [0, 1], 2, ignore_index=257)
    np.testing.assert_array_equal(counts, [[1, 0], [0, 1]])


def test_prediction_out_of_range_under_an_ignored_label():
    counts = kseg_ops.confusion_matrix([0, 255, 1], [0, 99, 1], 2)
    np.testing.assert_array_equal(counts, [[1, 0], [0, 1]])


@pytest.mark.parametrize("dtype", ["bool", "int16", "uint32", "uint64"])
def test_other_integer_types(dtype):
    labels = tf.cast([0, 1, 1], dtype)
    np.testing.assert_array_equal(kseg_ops.confusion_matrix(labels, labels, 2), [[1, 0], [0, 2]])


@pytest.mark.parametrize("use_reference", [False, True])
def test_labels_beyond_int64_are_not_the_ignored_one(use_reference):
    labels = tf.constant([0, 2**64 - 1], tf.uint64)  # the bits of -1
    with contextlib.ExitStack() as stack:
        if use_reference:
            stack.enter_context(kseg_ops.use_reference())
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?s)labels must be in .*9223372036854775807"):
            kseg_ops.confusion_matrix(labels, [0, 0], 2, ignore_index=-1)


def test_counts_are_exact_past_float32():
    pixels = 2**24 + 3  # float32 has no odd numbers from here on
    labels = tf.zeros(pixels, tf.uint8)
    assert int(kseg_ops.confusion_matrix(labels, labels, 2)[0, 0]) == pixels


# -- reference ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [1, 2, 5, 300])
@pytest.mark.parametrize("logits", [True, False])
def test_reference_against_numpy(classes, logits):
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, (3, 50))
    scores = rng.integers(0, 5, (3, 50, classes)).astype(np.float32)
    winners = scores.argmax(-1)
    void = rng.random(labels.shape) < 0.3
    expected = np.zeros((classes, classes), np.int64)
    np.add.at(expected, (labels[~void], winners[~void]), 1)
    predictions = tf.constant(scores) if logits else tf.constant(winners)
    counts = reference(tf.constant(np.where(void, -7, labels)), predictions, classes, -7)
    np.testing.assert_array_equal(counts, expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32"])
def test_reference_compiles_under_xla(dtype):
    labels, predictions = random_case(np.random.default_rng(0), (4, 33), 5, dtype, 255)

    @tf.function(jit_compile=True)
    def compiled(labels, predictions):
        with kseg_ops.use_reference():
            return kseg_ops.confusion_matrix(labels, predictions, 5)

    np.testing.assert_array_equal(compiled(labels, predictions), reference(tf.constant(labels), predictions, 5, 255))


def test_reference_under_xla_leaves_bad_labels_out():
    # XLA drops assertions; what must not happen is a count in a wrong place.
    @tf.function(jit_compile=True)
    def compiled(labels, predictions):
        with kseg_ops.use_reference():
            return kseg_ops.confusion_matrix(labels, predictions, 3)

    np.testing.assert_array_equal(
        compiled(tf.constant([0, 7, -1, 2]), tf.constant([0, 0, 1, 9])), [[1, 0, 0]] + [[0] * 3] * 2
    )


# -- native against reference ------------------------------------------------------------------------------------------

# Around the vector lengths 4, 8, 16 and the paths for few, many (64) and very many classes.
CLASSES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 21, 31, 33, 48, 63, 64, 65, 100, 150)


@pytest.mark.parametrize("dtype", FLOATS)
def test_native_logits(target, dtype):
    rng = np.random.default_rng(1)
    for classes in CLASSES:
        for shape in ((0,), (1,), (5, 7), (3, 0, 2), (270,)):
            labels, logits = random_case(rng, shape, classes, dtype, 255)
            counts = kseg_ops.confusion_matrix(labels, logits, classes)
            np.testing.assert_array_equal(
                counts, reference(tf.constant(labels), logits, classes, 255), f"{classes} {shape}"
            )
            if classes == 2:
                sigmoid = logits[..., :1]
                counts = kseg_ops.confusion_matrix(labels, sigmoid, classes)
                np.testing.assert_array_equal(counts, reference(tf.constant(labels), sigmoid, classes, 255))


@pytest.mark.parametrize("label_dtype", INTEGERS)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_native_classes(target, label_dtype, dtype):
    rng = np.random.default_rng(2)
    ignore_index = -1 if label_dtype in ("int8", "int32", "int64") else 200
    for classes in (1, 2, 21, 100):
        for shape in ((0,), (3,), (9, 31), (600,)):
            labels, predictions = random_case(rng, shape, classes, dtype, ignore_index)
            labels = tf.cast(labels, label_dtype)
            counts = kseg_ops.confusion_matrix(labels, predictions, classes, ignore_index)
            np.testing.assert_array_equal(counts, reference(labels, predictions, classes, ignore_index))


@pytest.mark.parametrize("classes", [16, 5000])
def test_native_denormals_and_extremes(target, classes):
    # 5000 half logits exceed the buffer in which the kernel widens them.
    for dtype in FLOATS:
        largest = float(tf.as_dtype(dtype).max)
        logits = np.zeros((6, classes))
        logits[0, 3] = largest
        logits[1, :] = -largest
        logits[1, 7] = -np.inf
        logits[2, classes - 1] = 1e-3
        logits[3, 4:6] = largest
        logits[4, 0] = -0.0  # equal to 0: the first stays
        logits[5, :9] = -np.inf
        winners = tf.constant(kseg_ops.confusion_matrix(tf.range(6) * 0, tf.cast(logits, dtype), classes)[0])
        expected = np.bincount([3, 0, classes - 1, 4, 0, 9], minlength=classes)
        np.testing.assert_array_equal(winners, expected)


@pytest.mark.parametrize("classes", [21, 150, 3000])
def test_native_many_pixels(target, classes):
    """Enough pixels for several threads, on tables of a thread's own and on the shared one."""
    rng = np.random.default_rng(3)
    labels = np.repeat(rng.integers(0, classes, 3000), 100)  # long runs, as in images
    predictions = rng.integers(0, classes, labels.size)
    predictions[: labels.size // 2] = labels[: labels.size // 2]
    labels[::17] = -1
    expected = np.zeros((classes, classes), np.int64)
    np.add.at(expected, (labels[labels >= 0], predictions[labels >= 0]), 1)
    np.testing.assert_array_equal(kseg_ops.confusion_matrix(labels, predictions, classes, -1), expected)


def test_native_unaligned_rows(target):
    # A slice starts at any address; the last vector of the last row must not read past the array's end.
    rng = np.random.default_rng(4)
    for offset in range(4):
        for classes in (3, 6, 12, 21, 70):
            logits = rng.standard_normal(offset + 40 * classes).astype(np.float32)[offset:].reshape(40, classes)
            labels = rng.integers(0, classes, 40)
            counts = CORE.confusion_matrix(labels, logits, classes)
            np.testing.assert_array_equal(counts, reference(tf.constant(labels), tf.constant(logits), classes, 255))


# -- NumPy binding -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(CORE is None, reason="needs the compiled library")
class TestNumPy:
    def test_equals_the_op(self):
        rng = np.random.default_rng(5)
        for dtype in (*FLOATS, "uint8", "int64"):
            labels, predictions = random_case(rng, (7, 9), 11, dtype, 255)
            counts = CORE.confusion_matrix(labels=labels, logits_or_labels=predictions.numpy(), num_classes=11)
            np.testing.assert_array_equal(counts, kseg_ops.confusion_matrix(labels, predictions, 11))

    def test_takes_arrays_that_are_not_contiguous(self):
        labels = np.arange(12).reshape(3, 4) % 3
        counts = CORE.confusion_matrix(labels.T, np.ascontiguousarray(labels.T), 3, ignore_index=None)
        np.testing.assert_array_equal(counts, np.eye(3) * 4)

    def test_thread_count_does_not_matter(self):
        rng = np.random.default_rng(6)
        labels, logits = random_case(rng, (100_000,), 4, "float32", 255)
        try:
            counts = []
            for threads in (1, 2, 5):
                CORE.set_num_threads(threads)
                counts.append(CORE.confusion_matrix(labels, logits.numpy(), 4))
        finally:
            CORE.set_num_threads(0)
        np.testing.assert_array_equal(counts[0], counts[1])
        np.testing.assert_array_equal(counts[0], counts[2])

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            (
                ([0, 9], [0, 1], 2),
                ValueError,
                r"labels must be in 0\.\.1 or equal ignore_index=255, got 9 at position 1",
            ),
            (([0, 9], [0, 1], 2, None), ValueError, r"labels must be in 0\.\.1, got 9 .*ignore_index is None"),
            (([0, 1], [0, -3], 2), ValueError, r"predicted classes must be in 0\.\.1 .* got -3 at position 1"),
            (([0, 1], [0, 1, 1], 2), ValueError, "integer predictions must have the shape of labels"),
            (([0, 1], np.zeros((2, 4)), 3), ValueError, r"num_classes=3, got 4"),
            (([0, 1], [0, 1], 0), ValueError, r"num_classes must be in 1\.\.16384, got 0"),
            (([0.0, 1.0], [0, 1], 2), TypeError, "labels must be one of uint8, .* got float64"),
            (([0, 1], np.array(["a", "b"]), 2), TypeError, "logits_or_labels must be one of float32"),
        ],
    )
    def test_bad_input(self, arguments, error, message):
        labels, predictions, *rest = arguments
        with pytest.raises(error, match=message):
            CORE.confusion_matrix(np.array(labels), np.array(predictions), *rest)


# -- graphs, errors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("use_reference", [False, True])
@pytest.mark.parametrize("shapes", [(None, None), ([None, None], [None, None, None]), ([2, None], [2, None, 2])])
def test_unknown_shapes(use_reference, shapes):
    @tf.function(input_signature=[tf.TensorSpec(shapes[0], tf.int32), tf.TensorSpec(shapes[1], tf.float32)])
    def counts(labels, logits):
        if use_reference:
            with kseg_ops.use_reference():
                return kseg_ops.confusion_matrix(labels, logits, 2)
        return kseg_ops.confusion_matrix(labels, logits, 2)

    assert counts.get_concrete_function().output_shapes == (2, 2)
    labels = tf.constant([[0, 1, 255], [1, 1, 0]])
    logits = tf.random.stateless_normal([2, 3, 2], seed=[1, 2])
    np.testing.assert_array_equal(counts(labels, logits), reference(labels, logits, 2, 255))
    if shapes[1] is None or shapes[1][-1] is None:
        np.testing.assert_array_equal(counts(labels, logits[..., :1]), reference(labels, logits[..., :1], 2, 255))
        with pytest.raises(tf.errors.InvalidArgumentError, match="last axis of logits must be num_classes=2"):
            counts(labels, tf.zeros([2, 3, 5]))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?s)must have the shape of labels"):
        counts(labels, logits[:, :2])


@pytest.mark.parametrize("use_reference", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_out_of_range_names_the_value(use_reference, dtype):
    def counts(labels, predictions, ignore_index=255):
        labels = tf.constant(labels, dtype)
        if use_reference:
            with kseg_ops.use_reference():
                return kseg_ops.confusion_matrix(labels, predictions, 3, ignore_index)
        return kseg_ops.confusion_matrix(labels, predictions, 3, ignore_index)

    def bad(message):
        return pytest.raises(tf.errors.InvalidArgumentError, match=f"(?s){message}")

    many = [0] * 1000
    with bad(r"labels must be in 0\.\.2 or equal ignore_index=255, got.*\b7\b"):
        counts([*many, 7, 1], [*many, 0, 1])
    with bad(r"labels must be in 0\.\.2 or equal ignore_index=255, got.*\b3\b"):
        counts([0, 3], tf.zeros([2, 3]))
    with bad(r"predicted classes must be in 0\.\.2.*got.*\b3\b"):
        counts([*many, 1], [*many, 3])
    with bad(r"labels must be in 0\.\.2.*got.*\b255\b"):
        counts([0, 255], [0, 0], ignore_index=None)
    if dtype != "uint8":
        with bad(r"labels must be in 0\.\.2.*got.*-1\b"):
            counts([-1], [0])
    with bad(r"predicted classes must be in 0\.\.2.*got.*-1\b"):
        counts([0], [-1])


@pytest.mark.parametrize(
    ("labels", "predictions", "classes", "error", "message"),
    [
        ([0.0], [0], 2, TypeError, "labels must be an integer tensor, got dtype float32"),
        ([0], ["a"], 2, TypeError, "logits_or_labels must be floating logits or integer classes, got dtype string"),
        ([0], [0, 1], 2, ValueError, r"integer predictions must have the shape of labels, \(1,\), got \(2,\)"),
        ([0], [[0.0] * 3], 2, ValueError, r"num_classes=2 \(or 1: a sigmoid logit\), got shape \(1, 3\)"),
        ([0], [[0.0]], 3, ValueError, r"the last axis of logits must be num_classes=3, got shape \(1, 1\)"),
        ([[0]], [[0.0, 1.0]], 2, ValueError, "logits must have the shape of labels plus a last axis of classes"),
        (0, 0.5, 2, ValueError, "last axis of classes, got a scalar"),
        ([0], [0], 0, ValueError, r"num_classes must be in 1\.\.16384, got 0"),
        ([0], [0], 20000, ValueError, r"num_classes must be in 1\.\.16384, got 20000"),
        ([0], [0], 2.5, TypeError, "num_classes must be an integer, got 2.5 of type float"),
    ],
)
def test_bad_arguments(labels, predictions, classes, error, message):
    with pytest.raises(error, match=message):
        kseg_ops.confusion_matrix(tf.constant(labels), tf.constant(predictions), classes)


@pytest.mark.parametrize("name", ["labels", "logits_or_labels"])
def test_keras_tensors_are_refused_with_the_alternative(name):
    arguments = {"labels": tf.constant([0]), "logits_or_labels": tf.constant([0]), name: keras.Input((4,))}
    with pytest.raises(TypeError, match=f"{name} is a KerasTensor.*kseg.metrics.MeanIoU"):
        kseg_ops.confusion_matrix(num_classes=2, **arguments)


def test_has_no_gradient():
    logits = tf.Variable([[1.0, 2.0]])
    with tf.GradientTape() as tape:
        total = tf.cast(tf.reduce_sum(kseg_ops.confusion_matrix([1], logits, 2)), tf.float32)
    assert tape.gradient(total, logits) is None


@pytest.mark.skipif(not TARGETS, reason="needs the compiled library")
def test_the_native_op_is_in_the_graph():
    graph = (
        tf.function(lambda labels: kseg_ops.confusion_matrix(labels, labels, 2))
        .get_concrete_function(tf.constant([0]))
        .graph
    )
    assert "Kseg>ConfusionMatrix" in {operation.type for operation in graph.get_operations()}
