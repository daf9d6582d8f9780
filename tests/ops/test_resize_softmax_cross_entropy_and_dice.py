"""`kseg_ops.resize_softmax_cross_entropy_and_dice`: the sums of Dice losses beside the cross-entropy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
import kseg_ops.numpy
from kseg_ops import _library
from tests.helpers.resize_softmax_cases import CORE, EPS, SIZES, random_case

op = kseg_ops.resize_softmax_cross_entropy_and_dice
native = pytest.mark.skipif(CORE is None, reason="needs the compiled library")


def both_ways(request_reference):
    def function(*args, **kwargs):
        if not request_reference:
            return op(*args, **kwargs)
        with kseg_ops.use_reference():
            return op(*args, **kwargs)

    return function


both = pytest.mark.parametrize("function", [both_ways(False), both_ways(True)], ids=["op", "reference"])


@both
def test_by_hand(function):
    """Upsampled by two, the probabilities of class 0 are those of the differences 2, 1, -1, -2."""
    logits = tf.constant([[[[2.0, 0.0], [0.0, 2.0]]]])
    given = function(tf.constant([[[0, 0, 1, 255]]]), logits, pixel_weights=[[[1.0, 2.0, 3.0, 9.0]]])
    p = 1 / (1 + np.exp([-2.0, -1.0, 1.0]))
    np.testing.assert_allclose(given.loss[0, 0], [*-np.log([p[0], p[1], 1 - p[2]]), 0], rtol=8 * EPS)
    np.testing.assert_allclose(given.overlap, [[p[0] + 2 * p[1], 3 * (1 - p[2])]], rtol=8 * EPS)
    predicted = p[0] + 2 * p[1] + 3 * p[2]
    np.testing.assert_allclose(given.predicted, [[predicted, 6 - predicted]], rtol=8 * EPS)
    np.testing.assert_array_equal(given.labelled, [[3, 3]])


@both
def test_one_channel_has_background_and_foreground(function):
    logits = tf.constant([[[[np.log(3.0)]]]], tf.float32)
    given = function(tf.constant([[[0, 1, 255]]]), logits)
    np.testing.assert_allclose(given.overlap, [[0.25, 0.75]], rtol=4 * EPS)
    np.testing.assert_allclose(given.predicted, [[0.5, 1.5]], rtol=4 * EPS)
    np.testing.assert_array_equal(given.labelled, [[1, 1]])


def results(function, case, weights, sums_upstream, logits):
    """Loss, sums `[B, 3, C]` and the gradient of the logits, as float64 arrays."""
    with tf.GradientTape() as tape:
        tape.watch(logits)
        given = function(tf.constant(case.labels), logits, weights, **case.settings)
        sums = tf.stack(given[1:], axis=1)
    upstream = [tf.cast(case.upstream, sums.dtype), tf.cast(sums_upstream, sums.dtype)]
    gradient = tape.gradient([given.loss, sums], logits, upstream)
    return [tf.cast(result, tf.float64).numpy() for result in (given.loss, sums, gradient)]


def check(case, function, weights_shape):
    """Against float64: rounding of logits (six), of powers (ten) and of sums along a row of tiles."""
    rng = np.random.default_rng(11)
    classes = max(case.logits.shape[-1], 2)
    weights = rng.uniform(0, 2, [n if keep else 1 for n, keep in zip(case.labels.shape, weights_shape, strict=True)])
    weights = weights.astype(np.float32)
    upstream = rng.uniform(-1, 1, (2, 3, classes)).astype(np.float32)
    truth = results(op, case, weights, upstream, tf.cast(case.logits, tf.float64))
    ours = results(function, case, weights, upstream, case.logits)
    size = 1 + np.abs(tf.cast(case.logits, tf.float64)).max()
    unit = (10 + 3 * size) * EPS
    assert np.abs(ours[0] - truth[0]).max() <= 6 * EPS * size
    # The reference adds up in float32, in an order of its own.
    pixels = case.labels[0].size
    assert np.all(np.abs(ours[1] - truth[1]) <= (unit + pixels * EPS / 2) * truth[1] + unit)
    # Outputs that share a source pixel: those of two cells per axis.
    (_, height, width), (_, rows, columns, _) = case.labels.shape, case.logits.shape
    shared = (2 * height / rows + 2) * (2 * width / columns + 2)
    unit16 = {"float32": 0, "float16": 2.0**-11, "bfloat16": 2.0**-8}[case.logits.dtype.name]
    allowed = unit * shared * 5 + unit16 * np.abs(truth[2]) + 2.0**-25  # 5: 1 of the loss, 2 weights * 2 of the sums
    assert np.all(np.abs(ours[2] - truth[2]) <= allowed)


@both
@pytest.mark.parametrize("sizes", SIZES[:9:2], ids=str)
def test_within_rounding_of_float64(function, sizes):
    for channels in (1, 5):
        check(random_case(1, sizes, channels, label_smoothing=0.1), function, (True, True, True))
        check(random_case(2, sizes, channels, align_corners=True), function, (True, False, False))


@native
@pytest.mark.parametrize("channels", [2, 17, 150])
def test_every_target(target, channels):
    for scale in (1.0, 15.0, 1000.0):
        check(random_case(3, SIZES[2], channels, scale), op, (False, True, True))
    check(random_case(3, SIZES[3], channels, dtype="bfloat16"), op, (True, True, True))


def test_gradient_against_differences():
    case = random_case(3, ((3, 2), (5, 7)), 3)
    rng = np.random.default_rng(0)
    upstream, weights = rng.uniform(-1, 1, (2, 3, 3)), rng.uniform(0, 2, case.labels.shape)

    def total(logits):
        given = op(case.labels, logits, weights)
        return tf.reduce_sum(given.loss) + tf.reduce_sum(tf.stack(given[1:], 1) * upstream)

    theoretical, numerical = tf.test.compute_gradient(total, [tf.cast(case.logits, tf.float64)], delta=6e-6)
    np.testing.assert_allclose(theoretical[0], numerical[0], atol=1e-8)


def test_the_loss_is_that_of_the_other_op():
    case = random_case(4, SIZES[3], 6, label_smoothing=0.1)
    loss = kseg_ops.resize_softmax_cross_entropy(case.labels, case.logits, **case.settings)
    np.testing.assert_array_equal(op(case.labels, case.logits, **case.settings).loss, loss)


@both
def test_void_images_and_weights_of_zero(function):
    logits = tf.random.stateless_normal([2, 2, 2, 3], [1, 2])
    labels = tf.constant(np.stack([np.full((5, 6), 255), np.ones((5, 6), int)]))
    given = function(labels, logits, pixel_weights=np.array([1, 0]).reshape(2, 1, 1))
    for sums in given[1:]:
        np.testing.assert_array_equal(sums, np.zeros((2, 3)))
    assert np.all(given.loss[1] > 0)


@native
def test_bitwise_equal_for_any_number_of_threads(target):
    case = random_case(7, ((37, 11), (150, 41)), 19, 3.0)
    upstream = np.random.default_rng(0).normal(size=(2, 3, 19))
    found = []
    try:
        for threads in (1, 2, 5, 2):
            CORE.set_num_threads(threads)
            loss, sums = kseg_ops.numpy.resize_softmax_cross_entropy_and_dice(case.labels, case.logits.numpy())
            gradient = kseg_ops.numpy.resize_softmax_cross_entropy_gradient(
                case.labels, case.logits.numpy(), case.upstream, upstream
            )
            found.append((loss.tobytes(), sums.tobytes(), gradient.tobytes()))
    finally:
        CORE.set_num_threads(0)
    assert len(set(found)) == 1


def test_reference_compiles_under_xla():
    case = random_case(4, SIZES[1], 5)

    @tf.function(jit_compile=True)
    def compiled(labels, logits):
        with kseg_ops.use_reference(), tf.GradientTape() as tape:
            tape.watch(logits)
            given = op(labels, logits)
            total = tf.reduce_sum(given.overlap / given.predicted)
        return given.predicted, tape.gradient(total, logits)

    predicted, gradient = compiled(tf.constant(case.labels), case.logits)
    np.testing.assert_allclose(predicted, op(case.labels, case.logits).predicted, rtol=128 * EPS)
    assert np.abs(gradient).max() > 0


def test_a_flag_is_a_bool():
    with pytest.raises(TypeError, match="align_corners must be True or False, got 'False'"):
        op(np.zeros((1, 4, 4), int), np.zeros((1, 2, 2, 3), np.float32), align_corners="False")


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (np.ones((2, 4, 5)), ValueError, r"pixel_weights must have the shape of labels, \(2, 4, 4\), or 1 in place"),
        (np.ones((4, 4)), ValueError, r"pixel_weights must have the shape of labels.* got \(4, 4\)"),
        (np.ones((2, 4, 4), bool), TypeError, "pixel_weights must be numbers, got dtype bool"),
    ],
)
def test_bad_weights(weights, error, message):
    with pytest.raises(error, match=message):
        op(np.zeros((2, 4, 4), int), np.zeros((2, 2, 2, 3), np.float32), weights)


@native
def test_raw_ops_check_what_they_get():
    forward = _library.native_op("resize_softmax_cross_entropy_and_dice")
    backward = _library.native_op("resize_softmax_cross_entropy_and_dice_grad")
    good = {"labels": tf.zeros([2, 4, 4], tf.int32), "logits": tf.zeros([2, 2, 2, 3])}
    good["pixel_weights"] = tf.ones([2, 1, 4])
    given = {**good, "loss_gradient": tf.zeros([2, 4, 4]), "sums_gradient": tf.zeros([2, 3, 3])}
    assert [result.shape.as_list() for result in forward(**good)] == [[2, 4, 4], [2, 3, 3]]
    assert backward(**given).shape == (2, 2, 2, 3)
    for wrong, message in (
        ({"pixel_weights": tf.ones([4])}, "pixel_weights must have rank 3"),
        ({"pixel_weights": tf.ones([2, 1, 3])}, "pixel_weights must have the extents of labels, .2, 4, 4., or 1 in"),
        ({"pixel_weights": tf.ones([0, 1, 1])}, "pixel_weights must have the extents of labels"),
        ({"labels": tf.fill([2, 4, 4], -3)}, "labels must be in 0..2 or equal ignore_index=255, got -3 at position 0"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            forward(**{**good, **wrong})
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            backward(**{**given, **wrong})
    for wrong, message in (
        ({"sums_gradient": tf.zeros([2, 3])}, "sums_gradient must have rank 3"),
        ({"sums_gradient": tf.zeros([2, 2, 3])}, "sums_gradient must have shape .2, 3, 3., got .2, 2, 3"),
        ({"loss_gradient": tf.zeros([1, 4, 4])}, "loss_gradient must have the shape of labels"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            backward(**{**given, **wrong})
