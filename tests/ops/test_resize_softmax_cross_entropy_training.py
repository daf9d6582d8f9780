"""`resize_softmax_cross_entropy` in graphs, where one sweep gives the loss and the gradient of its sum."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg_ops import _library
from tests.helpers.resize_softmax_cases import (
    CORE,
    SIZES,
    allowed_errors,
    exactly,
    loss_and_gradient,
    random_case,
    stock,
)

pytestmark = pytest.mark.skipif(CORE is None, reason="needs the compiled library")

op = kseg_ops.resize_softmax_cross_entropy


def in_a_graph(case):
    """The loss in a graph, its gradient in another."""
    return loss_and_gradient(tf.function(op, autograph=False), case)


def in_one_graph(case):
    """The loss and its gradient in the same graph."""
    loss, gradient = tf.function(
        lambda labels, logits, upstream: _both(labels, logits, upstream, case.settings), autograph=False
    )(case.labels, case.logits, case.upstream)
    return loss.numpy().astype(np.float64), gradient.numpy().astype(np.float64)


def _both(labels, logits, upstream, settings):
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = op(labels, logits, **settings)
    return loss, tape.gradient(loss, logits, upstream)


def evenly(case, factors=(0.25, -3.0)):
    """The case with one upstream gradient for each image, but at void pixels, where it does not count."""
    upstream = np.broadcast_to(np.float32(factors)[:, None, None], case.labels.shape).copy()
    upstream[case.labels == 255] = np.nan
    return case._replace(upstream=upstream)


def check(case):
    """Within what the rounding of float32 allows, of which the last product takes half a unit more."""
    finite = case._replace(upstream=np.where(case.labels == 255, 0, case.upstream).astype(np.float32))
    truth = exactly(finite)
    loss_error, gradient_error = allowed_errors(finite, truth, loss_and_gradient(stock, finite))
    loss, gradient = in_one_graph(case)
    assert np.abs(loss - truth[0]).max() <= loss_error
    assert np.all(np.abs(gradient - truth[1]) <= gradient_error)
    np.testing.assert_array_equal(loss[case.labels == 255], 0)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_every_scale(target, sizes):
    for align_corners in (False, True):
        check(evenly(random_case(3, sizes, 5, align_corners=align_corners)))


@pytest.mark.parametrize("channels", [1, 2, 16, 21, 150])
def test_every_number_of_classes(target, channels):
    weights = [0.5 + 0.1 * i for i in range(max(channels, 2))]
    check(evenly(random_case(channels, SIZES[3], channels, label_smoothing=0.2, class_weights=weights)))


@pytest.mark.parametrize("scale", [20.0, 200.0])
def test_wide_logits(target, scale):
    for sizes in (SIZES[1], SIZES[3]):
        check(evenly(random_case(4, sizes, 21, scale)))


def test_both_graphs_and_no_graph_have_the_same_loss(target):
    case = evenly(random_case(5, SIZES[3], 21))
    loss, _ = loss_and_gradient(op, case)
    mine, gradient = in_one_graph(case)
    np.testing.assert_array_equal(mine, loss)
    mine, same_gradient = in_a_graph(case)
    np.testing.assert_array_equal(mine, loss)
    np.testing.assert_array_equal(same_gradient, gradient)


def test_uneven_gradients_are_computed_anew(target):
    case = random_case(5, SIZES[3], 21)
    np.testing.assert_array_equal(in_one_graph(case)[1], loss_and_gradient(op, case)[1])


def _scaled(upstream, labels=None, **settings):
    """The training op's backward pass with a unit gradient of ones, which no logits have."""
    labels = np.zeros(upstream.shape, np.int32) if labels is None else labels
    unit = tf.ones([len(upstream), 3, 3, 2])
    backward = _library.native_op("resize_softmax_cross_entropy_training_grad")
    return backward(
        labels=labels, logits=tf.zeros_like(unit), unit_gradient=unit, loss_gradient=upstream, **settings
    ).numpy()


@pytest.mark.parametrize("label_type", [np.uint8, np.int8, np.uint16, np.int32, np.int64])
def test_scaled_where_an_image_has_one_gradient(label_type):
    upstream = np.ones((2, 40, 60), np.float32) * np.float32([2.0, -0.5])[:, None, None]
    expected = np.ones((2, 3, 3, 2)) * upstream[:, :1, :1, None]
    np.testing.assert_array_equal(_scaled(upstream, np.zeros(upstream.shape, label_type)), expected)
    for position in (0, 1, 1023, 1024, 2399):
        uneven = upstream.copy()
        uneven[1].flat[position] = 0.5
        labels = np.zeros(upstream.shape, label_type)
        assert not np.any(_scaled(uneven, labels) == expected)
        labels[1].flat[position] = 99  # void: it does not count
        np.testing.assert_array_equal(_scaled(uneven, labels, ignore_index=99), expected)
        assert not np.any(_scaled(uneven, labels, ignore_index=99)[0] == 1)


def test_scaled_to_zero_where_all_is_void():
    upstream = np.random.default_rng(0).random((1, 12, 12)).astype(np.float32)
    assert not np.any(_scaled(upstream, np.full(upstream.shape, 255, np.int32)))


def test_labels_without_pixels_hand_back_zeros():
    labels, logits = tf.zeros([2, 0, 4], tf.int32), tf.ones([2, 3, 3, 2])
    loss, unit = _library.native_op("resize_softmax_cross_entropy_training")(labels=labels, logits=logits)
    assert loss.shape == labels.shape
    assert not np.any(unit)
    backward = _library.native_op("resize_softmax_cross_entropy_training_grad")
    nothing = np.full(logits.shape, np.nan, np.float32)
    assert not np.any(backward(labels=labels, logits=logits, unit_gradient=nothing, loss_gradient=tf.zeros([2, 0, 4])))


@pytest.mark.parametrize("factor", [np.inf, np.nan, 1e13, -1e13])
def test_immoderate_gradients_are_not_scaled(factor):
    result = _scaled(np.full((1, 12, 12), factor, np.float32))
    assert not np.any(result == np.float32(factor))


@pytest.mark.parametrize("weight", [1e20, 1e-20])
def test_immoderate_class_weights_are_not_scaled(weight):
    assert not np.any(_scaled(np.ones((1, 12, 12), np.float32), class_weights=[weight, 1.0]) == 1)


def test_a_graph_without_gradient_does_not_compute_one():
    def outputs(with_gradient):
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            logits = tf.compat.v1.placeholder(tf.float32, [1, 8, 8, 21])  # not a constant, which would be folded
            loss = op(tf.zeros([1, 32, 32], tf.int32), logits)
            fetched = [loss, tf.gradients(loss, logits)] if with_gradient else loss
            record = tf.compat.v1.RunMetadata()
            options = tf.compat.v1.RunOptions(trace_level=tf.compat.v1.RunOptions.FULL_TRACE)
            session.run(fetched, {logits: np.ones(logits.shape)}, options=options, run_metadata=record)
            nodes = [node for device in record.step_stats.dev_stats for node in device.node_stats]
            return {output.slot for node in nodes if node.node_name == loss.op.name for output in node.output}

    assert outputs(with_gradient=False) == {0}
    assert outputs(with_gradient=True) == {0, 1}


def test_same_from_run_to_run():
    case = evenly(random_case(6, ((40, 8), (160, 32)), 21))
    first = in_one_graph(case)
    for _ in range(5):
        for mine, before in zip(in_one_graph(case), first, strict=True):
            np.testing.assert_array_equal(mine, before)


def test_raw_op_checks_what_it_gets():
    backward = _library.native_op("resize_softmax_cross_entropy_training_grad")
    good = {"labels": tf.zeros([1, 4, 4], tf.int32), "logits": tf.zeros([1, 2, 2, 3])}
    good |= {"unit_gradient": good["logits"], "loss_gradient": tf.zeros([1, 4, 4])}
    assert backward(**good).shape == (1, 2, 2, 3)
    for wrong, message in (
        ({"unit_gradient": tf.zeros([2, 2, 3])}, "unit_gradient must have rank 4"),
        ({"unit_gradient": tf.zeros([1, 2, 3, 2])}, "unit_gradient must have the shape of logits, .1, 2, 2, 3., got"),
        ({"loss_gradient": tf.zeros([1, 4, 5])}, "loss_gradient must have the shape of labels"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            backward(**{**good, **wrong})


def test_shape_functions():
    forward = _library.native_op("resize_softmax_cross_entropy_training")
    backward = _library.native_op("resize_softmax_cross_entropy_training_grad")
    with tf.Graph().as_default():
        labels = tf.compat.v1.placeholder(tf.uint8, [None, 8, 9])
        logits = tf.compat.v1.placeholder(tf.float32, [2, None, 4, 3])
        loss, unit = forward(labels=labels, logits=logits)
        assert loss.shape.as_list() == [2, 8, 9]
        assert unit.shape.as_list() == [2, None, 4, 3]
        gradient = backward(labels=labels, logits=logits, unit_gradient=unit, loss_gradient=loss)
        assert gradient.shape.as_list() == [2, None, 4, 3]
        with pytest.raises(ValueError, match="must be equal"):
            backward(labels=labels, logits=logits, unit_gradient=unit[:1], loss_gradient=loss)


def _kinds(reduce):
    """The types of kseg's ops in a graph that differentiates a reduction of the loss."""

    @tf.function
    def step(labels, logits, weights):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = reduce(op(labels, logits), weights, labels != 255)
        return value, tape.gradient(value, logits)

    arguments = [tf.TensorSpec([2, None, 16], dtype) for dtype in (tf.int32, tf.float32)]
    graph = step.get_concrete_function(arguments[0], tf.TensorSpec([2, 4, 4, 3]), arguments[1]).graph
    return {node.type.removeprefix("Kseg>ResizeSoftmaxCrossEntropy") for node in graph.get_operations()} & {
        "Training",
        "TrainingGrad",
        "Grad",
    }


@pytest.mark.parametrize(
    "reduce",
    [
        lambda loss, weights, valid: tf.reduce_mean(loss),
        lambda loss, weights, valid: 3.0 * tf.reduce_sum(loss),
        lambda loss, weights, valid: tf.reduce_sum(loss) / tf.reduce_sum(tf.cast(valid, tf.float32)),
        lambda loss, weights, valid: tf.reduce_mean(tf.where(valid, loss, 0.0)),
    ],
)
def test_even_gradients_are_prepared_for(reduce):
    assert _kinds(reduce) == {"Training", "TrainingGrad"}


@pytest.mark.parametrize(
    "reduce",
    [
        lambda loss, weights, valid: tf.reduce_sum(loss**2),
        lambda loss, weights, valid: tf.reduce_mean(loss * tf.square(weights)),
        lambda loss, weights, valid: tf.reduce_sum(tf.math.top_k(tf.reshape(loss, [-1]), 5)[0]),
        lambda loss, weights, valid: tf.reduce_sum((1.0 - tf.exp(-loss)) ** 2 * loss),
        lambda loss, weights, valid: tf.reduce_sum(loss * tf.constant([1.0, 2.0] * 8)),
    ],
)
def test_uneven_gradients_are_not(reduce):
    assert _kinds(reduce) == {"Training", "Grad"}
