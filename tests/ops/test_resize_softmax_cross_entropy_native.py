"""The compiled `resize_softmax_cross_entropy`: every instruction set, extreme logits, determinism, memory, refusals."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
import kseg_ops.numpy
from kseg_ops import _library
from kseg_ops.reference.resize_softmax_cross_entropy import resize_softmax_cross_entropy as reference
from tests.helpers.resize_softmax_cases import (
    CORE,
    EPS,
    SIZES,
    allowed_errors,
    assert_close,
    exactly,
    loss_and_gradient,
    random_case,
    stock,
)

pytestmark = pytest.mark.skipif(CORE is None, reason="needs the compiled library")

op = kseg_ops.resize_softmax_cross_entropy
TARGETS = CORE.supported_simd_targets() if CORE else []


@functools.cache
def case_with_truth(sizes, channels, scale, dtype="float32", align_corners=False, label_smoothing=0.0):
    case = random_case(channels, sizes, channels, scale, dtype, align_corners=align_corners)
    case.settings["label_smoothing"] = label_smoothing
    truth = exactly(case)
    return case, truth, allowed_errors(case, truth, loss_and_gradient(stock, case))


def check(case, truth, allowed):
    loss, gradient = loss_and_gradient(op, case)
    assert np.abs(loss - truth[0]).max() <= allowed[0]
    assert np.all(np.abs(gradient - truth[1]) <= allowed[1])


@pytest.mark.parametrize("channels", [1, 2, 3, 16, 17, 21, 150, 151])
def test_every_number_of_classes(target, channels):
    for sizes in (SIZES[2], SIZES[3]):
        check(*case_with_truth(sizes, channels, 1.0, align_corners=channels % 2 == 0, label_smoothing=0.2))


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_every_scale(target, sizes):
    for align_corners in (False, True):
        check(*case_with_truth(sizes, 5, 1.0, align_corners=align_corners))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bits(target, dtype):
    for channels in (1, 21):
        check(*case_with_truth(SIZES[2], channels, 1.0, dtype))


@pytest.mark.parametrize("scale", [5.0, 12.0, 40.0, 1e4, 1e20])
def test_wide_logits(target, scale):
    """Around and beyond the 52 nats up to which powers are multiplied up instead of computed one by one."""
    for sizes in (SIZES[0], SIZES[1], SIZES[2], SIZES[3]):
        check(*case_with_truth(sizes, 21, scale))


@pytest.mark.parametrize("nats", [30.0, 34.6, 34.8, 51.9, 52.0, 60.0, 87.0, 104.0])
def test_the_border_between_the_two_ways(target, nats):
    """Neighbouring pixels that are sure of different classes: between them, every probability is tiny somewhere."""
    rows = np.array([[0.0, -nats, -nats], [-nats, 0.0, -nats], [-nats, -nats, 0.0], [0.0, -nats, 0.0]], np.float32)
    case = random_case(1, ((4, 4), (16, 16)), 3)
    logits = tf.constant(rows[np.add.outer(np.arange(4), np.arange(4)) % 4][None].repeat(2, 0))
    for size in ((16, 16), (12, 20), (32, 9)):
        sized = random_case(2, ((4, 4), size), 3)
        assert_close(sized._replace(logits=logits), op)
    assert case.logits.shape == logits.shape


def test_large_upstream_gradients(target):
    """Times the inverse of a tiny sum they would overflow; the exact way then takes over."""
    case, truth, allowed = case_with_truth(SIZES[3], 21, 10.0)
    large = case._replace(upstream=case.upstream * np.float32(1e30))
    gradient = loss_and_gradient(op, large)[1]
    assert np.all(np.abs(gradient - truth[1] * 1e30) <= allowed[1] * 1.01e30)


def test_infinite_logits_are_large_numbers(target):
    case = random_case(3, SIZES[3], 5)
    logits = case.logits.numpy()
    logits[:, ::3, :, 1] = -np.inf
    logits[:, ::5, 1, 2] = np.inf
    infinite = case._replace(logits=tf.constant(logits))
    clipped = case._replace(logits=tf.constant(np.clip(logits, -1e30, 1e30)))
    loss, gradient = loss_and_gradient(op, infinite)
    truth, _ = exactly(clipped)
    assert np.all(np.isfinite(loss))
    assert np.all(np.isfinite(gradient))
    np.testing.assert_allclose(loss, truth, rtol=16 * EPS, atol=64 * EPS)
    # The gradient is that of numbers clipped to the limit, which hand back nothing.
    np.testing.assert_array_equal(gradient[np.isinf(logits)], 0)
    expected = np.where(np.isinf(logits), 0, exactly(clipped)[1])
    np.testing.assert_allclose(gradient, expected, atol=256 * EPS)
    np.testing.assert_allclose(loss_and_gradient(reference, infinite)[1], expected, atol=256 * EPS)


@pytest.mark.parametrize("function", [op, reference], ids=["op", "reference"])
def test_a_nan_reaches_the_pixels_around_it_and_no_void_one(function):
    logits = np.random.default_rng(0).normal(size=(1, 5, 6, 7)).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, 7, (1, 20, 24))
    clean = loss_and_gradient(
        function,
        random_case(0, SIZES[3], 7)._replace(
            labels=labels.astype(np.int32), logits=tf.constant(logits), upstream=np.ones(labels.shape, np.float32)
        ),
    )
    logits[0, 2, 3, 4] = np.nan
    # Rows 6..13 and columns 10..17 lie between pixel (2, 3) and a neighbour of it.
    near = np.zeros(labels.shape, bool)
    near[:, 6:14, 10:18] = True
    for void in (False, True):
        given = np.where(near & void, 255, labels).astype(np.int32)
        case = random_case(0, SIZES[3], 7)._replace(
            labels=given, logits=tf.constant(logits), upstream=np.ones(labels.shape, np.float32)
        )
        loss, gradient = loss_and_gradient(function, case)
        np.testing.assert_array_equal(np.isnan(loss), near & (not void))
        np.testing.assert_allclose(loss[~near], clean[0][~near], rtol=8 * EPS)
        if void:
            assert np.all(np.isfinite(gradient))
            np.testing.assert_array_equal(gradient[0, 2, 3], 0)
        else:
            expected = np.zeros(gradient.shape, bool)
            expected[0, 1:4, 2:5] = True  # the pixels that share an output with it
            np.testing.assert_array_equal(np.isnan(gradient), expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_bitwise_equal_for_any_number_of_threads(target, dtype):
    case = random_case(7, ((37, 11), (150, 41)), 19, 3.0, dtype)
    logits = case.logits.numpy()
    results = []
    try:
        for threads in (1, 2, 3, 7, 2):
            CORE.set_num_threads(threads)
            loss = kseg_ops.numpy.resize_softmax_cross_entropy(case.labels, logits)
            gradient = kseg_ops.numpy.resize_softmax_cross_entropy_gradient(case.labels, logits, case.upstream)
            results.append((loss.tobytes(), gradient.tobytes()))
    finally:
        CORE.set_num_threads(0)
    assert len(set(results)) == 1
    with tf.GradientTape() as tape:
        tape.watch(case.logits)
        loss = op(case.labels, case.logits)
    assert results[0] == (loss.numpy().tobytes(), tape.gradient(loss, case.logits, case.upstream).numpy().tobytes())


@pytest.mark.parametrize("classes", [21, 150])
def test_memory_stays_below_a_twentieth_of_the_full_logits(classes):
    labels, logits = (1, 512, 512), (1, 128, 128, classes)
    full = 512 * 512 * classes * 4
    for gradient in (False, True):
        for dice in (False, True):
            scratch = CORE.resize_softmax_scratch_bytes(labels, logits, gradient, dice, 2)
            assert 0 < scratch < 0.05 * full


def test_memory_is_not_told_of_what_cannot_be():
    good = {"labels_shape": (1, 8, 8), "logits_shape": (1, 4, 4, 3), "gradient": True, "dice": True, "threads": 2}
    assert CORE.resize_softmax_scratch_bytes(**good) > 0
    for wrong, message in (
        ({"labels_shape": (1, -8, 8)}, "labels_shape must not be negative"),
        ({"logits_shape": (1, 4, 4, -3)}, "logits_shape must not be negative"),
        ({"logits_shape": (1, 0, 4, 3)}, "logits must have a height"),
        ({"labels_shape": (1, 8, 2**62)}, "labels must have at most"),
        (
            {"labels_shape": (2**40, 8, 8), "logits_shape": (2**40, 4, 2**24, 3)},
            r"logits_shape must have at most 2\*\*56",
        ),
        ({"threads": 0}, r"threads must be in 1\.\.256, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            CORE.resize_softmax_scratch_bytes(**{**good, **wrong})


def test_labels_of_another_byte_order_are_refused():
    labels = np.ones((1, 2, 2), np.int32)
    with pytest.raises(TypeError, match=r"labels must be int32, got [<>]i4"):
        CORE.resize_softmax_cross_entropy(
            labels.astype(labels.dtype.newbyteorder()), np.zeros((1, 2, 2, 3), np.float32)
        )


def test_arrays_are_read_within_their_bounds(target):
    """At odd addresses, and with nothing readable behind the last pixel."""
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 3, (1, 12, 16)).astype(np.uint8)
    for offset in range(4):
        for channels in (1, 3, 6, 21):
            logits = rng.standard_normal(offset + 12 * channels).astype(np.float32)[offset:].reshape(1, 3, 4, channels)
            labels_here = np.minimum(labels, max(channels, 2) - 1)
            ours = kseg_ops.numpy.resize_softmax_cross_entropy(labels_here, logits)
            np.testing.assert_allclose(ours, reference(tf.constant(labels_here), logits), atol=32 * EPS)


def test_raw_ops_check_what_they_get():
    forward = _library.native_op("resize_softmax_cross_entropy")
    backward = _library.native_op("resize_softmax_cross_entropy_grad")
    good = {"labels": tf.zeros([1, 4, 4], tf.int32), "logits": tf.zeros([1, 2, 2, 3])}
    given = {**good, "loss_gradient": tf.zeros([1, 4, 4])}
    assert forward(**good).shape == (1, 4, 4)
    assert backward(**given).shape == (1, 2, 2, 3)
    for wrong, message in (
        ({"labels": tf.zeros([4, 4], tf.int32)}, "labels must have rank 3"),
        ({"labels": tf.zeros([2, 4, 4], tf.int32)}, "labels must have the batch size of logits, 1, got shape .2, 4, 4"),
        ({"labels": tf.fill([1, 4, 4], 3)}, r"labels must be in 0..2 or equal ignore_index=255, got 3 at position 0"),
        ({"logits": tf.zeros([2, 2, 3])}, "logits must have rank 4"),
        ({"logits": tf.zeros([1, 2, 0, 3])}, "a width and a number of classes of at least 1, got shape .1, 2, 0, 3"),
        ({"logits": tf.zeros([1, 2, 2, 0])}, "at least 1, got shape .1, 2, 2, 0"),
        ({"class_weights": [1.0]}, "class_weights must have one entry per class, 3, got 1"),
        ({"class_weights": [1.0, 1.0, -1.0]}, "class_weights must be finite and at least 0, got -1"),
        ({"class_weights": [1.0, 1.0, float("inf")]}, "class_weights must be finite and at least 0, got inf"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), got 1"),
        ({"label_smoothing": float("nan")}, r"label_smoothing must be in \[0, 1\), got -?nan"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            forward(**{**good, **wrong})
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            backward(**{**given, **wrong})
    for wrong, message in (
        (tf.zeros([4, 4]), "loss_gradient must have rank 3"),
        (tf.zeros([1, 4, 5]), "loss_gradient must have the shape of labels, .1, 4, 4., got .1, 4, 5"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            backward(**{**given, "loss_gradient": wrong})


def test_shape_functions_merge_and_refuse():
    forward = _library.native_op("resize_softmax_cross_entropy")
    backward = _library.native_op("resize_softmax_cross_entropy_grad")
    with tf.Graph().as_default():

        def given(shape, dtype=tf.float32):
            return tf.compat.v1.placeholder(dtype, shape)

        labels, logits = given([None, 8, 9], tf.uint8), given([2, None, 4, 3])
        loss = forward(labels=labels, logits=logits)
        assert loss.shape.as_list() == [2, 8, 9]
        assert forward(labels=given(None, tf.int64), logits=logits).shape.as_list() == [2, None, None]
        assert forward(labels=labels, logits=given(None)).shape.as_list() == [None, 8, 9]
        gradient = backward(labels=labels, logits=given([None] * 4), loss_gradient=given([2, 8, 9]))
        assert gradient.shape.as_list() == [None] * 4
        with pytest.raises(ValueError, match="must be rank 4"):
            forward(labels=labels, logits=given([4, 4, 3]))
        with pytest.raises(ValueError, match="must be equal"):
            forward(labels=given([3, 8, 9], tf.uint8), logits=logits)
        with pytest.raises(ValueError, match="must be equal"):
            backward(labels=labels, logits=logits, loss_gradient=given([2, 8, 8]))
        with pytest.raises(ValueError, match="class_weights must have one entry per class, 3, got 2"):
            forward(labels=labels, logits=logits, class_weights=[1.0, 1.0])
        with pytest.raises(ValueError, match=r"label_smoothing must be in \[0, 1\), got -1"):
            forward(labels=labels, logits=logits, label_smoothing=-1.0)


class TestNumPy:
    @pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
    def test_equals_the_op(self, dtype):
        case = random_case(8, SIZES[2], 6, 1.0, dtype)
        settings = {"class_weights": [1.0, 2, 3, 4, 5, 0], "label_smoothing": 0.1, "align_corners": True}
        loss, gradient = loss_and_gradient(op, case._replace(settings=settings))
        ours = kseg_ops.numpy.resize_softmax_cross_entropy(case.labels, case.logits.numpy(), **settings)
        np.testing.assert_array_equal(ours, loss)
        ours = kseg_ops.numpy.resize_softmax_cross_entropy_gradient(
            case.labels.astype(np.int16), case.logits.numpy(), case.upstream, **settings
        )
        assert ours.dtype == case.logits.numpy().dtype
        np.testing.assert_array_equal(ours.astype(np.float64), gradient)

    @pytest.mark.parametrize(
        ("wrong", "error", "message"),
        [
            ({"labels": np.zeros((4, 4), int)}, ValueError, "labels must have rank 3, got rank 2"),
            ({"labels": np.zeros((1, 4, 4))}, TypeError, "labels must be one of uint8, .* got float64"),
            ({"labels": np.full((1, 4, 4), 9)}, ValueError, r"labels must be in 0\.\.2 .* got 9 at position 0"),
            ({"logits": np.zeros((1, 2, 2, 3))}, TypeError, "logits must be one of float32, .* got float64"),
            ({"logits": np.zeros((1, 2, 2, 0), np.float32)}, ValueError, "at least 1, got shape"),
            ({"class_weights": [1.0]}, ValueError, "class_weights must have one entry per class, 3, got 1"),
            ({"label_smoothing": 1}, ValueError, r"label_smoothing must be in \[0, 1\), got 1"),
            ({"loss_gradient": np.zeros((1, 4, 5))}, ValueError, "loss_gradient must have the shape of labels"),
            ({"pixel_weights": np.zeros((1, 4, 5))}, ValueError, "pixel_weights must come with sums_gradient"),
        ],
    )
    def test_refusals(self, wrong, error, message):
        given = {"labels": np.zeros((1, 4, 4), int), "logits": np.zeros((1, 2, 2, 3), np.float32)}
        given["loss_gradient"] = np.zeros((1, 4, 4))
        with pytest.raises(error, match=message):
            kseg_ops.numpy.resize_softmax_cross_entropy_gradient(**{**given, **wrong})
