"""Compiled ops inside graphs that XLA compiles: the same kernels on the same inputs, so the same bits."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg_ops import _library
from tests.helpers.repository import CPP
from tests.helpers.xla_cases import CALLS, WITHOUT

pytestmark = pytest.mark.skipif(bool(_library.xla_problem()), reason=f"no XLA support: {_library.xla_problem()}")
BAD = [call for call in CALLS if call.message]


def bits(results):
    return [(one.shape, one.dtype.name, one.tobytes()) for one in results]


@pytest.mark.parametrize(
    ("call", "dtype"),
    [(call, dtype) for call in CALLS for dtype in call.dtypes],
    ids=lambda value: value if isinstance(value, str) else value.op,
)
def test_equals_the_ordinary_graph(call, dtype):
    tensors = call.tensors(dtype)
    plain = call.results(tensors, jit=False)
    assert bits(call.results(tensors, jit=True)) == bits(plain)
    assert any(np.any(np.asarray(one, np.float64) != 0) for one in plain), "a case of zeros shows nothing"


@pytest.mark.parametrize("call", BAD, ids=[call.op for call in BAD])
def test_refuses_what_the_ordinary_op_refuses(call):
    tensors = call.tensors(call.dtypes[0]) | call.bad
    for jit in (False, True):
        with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(call.message)):
            call.results(tensors, jit)


@pytest.mark.parametrize("call", CALLS, ids=[call.op for call in CALLS])
def test_refuses_another_rank(call):
    tensors = call.tensors(call.dtypes[0])
    name = next(iter(tensors))
    first = tensors[name]
    tensors[name] = [one[None] for one in first] if isinstance(first, list) else first[None]
    if call.op in ("confusion_matrix", "batched_nms"):  # one more axis can be meant
        tensors[name] = tensors[name][None]
    for jit in (False, True):
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=r"rank|equal|compatible|shape"):
            call.results(tensors, jit)


def test_rank_that_only_xla_knows():
    """The graph is made for inputs of unknown rank; XLA compiles it for those that come."""

    @tf.function(jit_compile=True, input_signature=[tf.TensorSpec(None), tf.TensorSpec(None)])
    def pool(features, boxes):
        op = _library.native_op("roi_align")
        indices = tf.zeros(tf.shape(boxes)[:1], tf.int32)
        return op(features=features, boxes=boxes, box_indices=indices, output_size=[2, 2])

    assert pool(tf.ones([1, 4, 4, 2]), tf.ones([3, 4])).shape == (3, 2, 2, 2)
    for features, boxes in ((tf.ones([4, 4, 2]), tf.ones([3, 4])), (tf.ones([1, 4, 4, 2]), tf.ones([3, 5]))):
        with pytest.raises(tf.errors.InvalidArgumentError):
            pool(features, boxes)


def test_results_of_unknown_number_say_so():
    boxes, scores = tf.ones([3, 4]), tf.ones([3])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Kseg>Nms cannot be compiled by XLA.*use_reference"):
        tf.function(lambda: kseg_ops.nms(boxes, scores, 0.5), jit_compile=True)()


def test_size_that_is_no_constant():
    @tf.function(jit_compile=True)
    def classes(logits, size):
        return kseg_ops.resize_argmax(logits, size)

    with pytest.raises(tf.errors.InvalidArgumentError, match="compile-time constant"):
        classes(tf.ones([1, 2, 2, 3]), tf.constant([4, 4]))


def test_attributes_arrive_unchanged():
    """Numbers that a decimal text could spoil: a threshold just above an overlap, and no threshold at all."""
    boxes = tf.constant([[[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 3.0]]])
    overlap = np.float32(0.3)
    for threshold, kept in ((np.nextafter(overlap, np.float32(0)), 1), (overlap, 2)):

        @tf.function(jit_compile=True)
        def suppress(scores, threshold=threshold):
            return kseg_ops.batched_nms(boxes, scores, float(threshold), max_output_size=2)

        assert int(suppress(tf.constant([[0.9, -0.8]]))[-1][0]) == kept


@pytest.mark.parametrize("jit", [False, True])
def test_gradients_are_those_of_the_ordinary_graph(jit):
    """Through the public functions, whose gradients are ops of their own."""
    rng = np.random.default_rng(0)
    features = tf.constant(rng.standard_normal((2, 8, 9, 4)), tf.float32)
    boxes = tf.constant([[[1.0, 2.0, 7.0, 6.0]], [[0.0, 0.0, 9.0, 8.0]]])
    labels = tf.constant(rng.integers(0, 4, (2, 16, 18)), tf.int32)

    @tf.function(jit_compile=jit)
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            pooled = kseg_ops.multilevel_roi_align([x], boxes, (2, 2), [1.0])
            value = tf.reduce_sum(kseg_ops.resize_softmax_cross_entropy(labels, x)) + tf.reduce_sum(pooled**2)
            pool, indices = kseg_ops.max_pool_with_indices(x)
            value += tf.reduce_sum(kseg_ops.max_unpool2d(pool, indices, (8, 9)) ** 2)
        return tape.gradient(value, x)

    with kseg_ops.use_reference():
        expected = tf.function(gradient.python_function)(features)
    np.testing.assert_allclose(gradient(features), expected, rtol=1e-4, atol=1e-5)


def lowered() -> list[str]:
    return re.findall(r'Lowering\{"Kseg>(\w+)"', (CPP / "adapters/xla_bridge.cc").read_text())


def test_every_op_has_a_lowering_and_a_handler():
    registered, handled = [], []
    for path in CPP.glob("ops/*/*_tf.cc"):
        registered += re.findall(r'REGISTER_OP\("Kseg>(\w+)"\)', path.read_text())
        handled += re.findall(
            r"KSEG_XLA_HOST_HANDLER\((\w+),", path.with_name(f"{path.parent.name}_xla.cc").read_text()
        )
    assert registered
    assert sorted(lowered()) == sorted(registered) == sorted(handled)


def test_every_op_is_called_here():
    covered = {call.op for call in CALLS} | set(WITHOUT)
    assert {"".join(word.capitalize() for word in op.split("_")) for op in covered} == set(lowered())


def test_handlers_use_threads():
    """Many elements, so that the work is shared; the result does not depend on it."""
    rng = np.random.default_rng(0)
    logits = tf.constant(rng.standard_normal((2, 64, 64, 8)), tf.float32)
    plain = kseg_ops.resize_argmax(logits, (256, 256))
    compiled = tf.function(lambda x: kseg_ops.resize_argmax(x, (256, 256)), jit_compile=True)(logits)
    np.testing.assert_array_equal(compiled, plain)
