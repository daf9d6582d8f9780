"""Compiled ops inside graphs that XLA compiles: the same kernels on the same inputs, so the same bits."""

from __future__ import annotations

import functools
import re

import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg_ops import _library
from tests.helpers.repository import CPP, ROOT
from tests.helpers.xla_cases import CALLS, WITHOUT, op_type

pytestmark = pytest.mark.skipif(bool(_library.xla_problem()), reason=f"no XLA support: {_library.xla_problem()}")
BAD = [call for call in CALLS if call.message]
WITH_GRADIENT = {
    name
    for path in (ROOT / "kseg_ops").glob("*.py")
    for name in re.findall(r'@(?:_library\.r|tf\.R)egister_?[Gg]radient\("Kseg>(\w+)"\)', path.read_text())
}
DIFFERENTIABLE = [call for call in CALLS if call.op_type in WITH_GRADIENT and "float32" in call.dtypes]
EPSILON = np.finfo("float32").eps


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
    with pytest.raises(
        tf.errors.UnimplementedError, match=r"Kseg>Nms cannot be compiled by XLA.*outside of jit_compile"
    ):
        tf.function(lambda: kseg_ops.nms(boxes, scores, 0.5), jit_compile=True)()


def test_size_from_outside():
    """XLA compiles anew for each."""

    @tf.function(jit_compile=True)
    def classes(logits, size):
        return kseg_ops.resize_argmax(logits, size)

    logits = tf.constant(np.random.default_rng(0).standard_normal((1, 2, 3, 4)), tf.float32)
    for size in ((4, 4), (5, 9)):
        np.testing.assert_array_equal(classes(logits, tf.constant(size)), kseg_ops.resize_argmax(logits, size))


def test_attributes_arrive_unchanged():
    """Numbers that a decimal text could spoil: a threshold just above an overlap, and no threshold at all."""
    boxes = tf.constant([[[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 3.0]]])
    overlap = np.float32(0.3)
    for threshold, kept in ((float(np.nextafter(overlap, np.float32(0))), 1), (float(overlap), 2)):
        suppress = tf.function(
            functools.partial(kseg_ops.batched_nms, boxes, iou_threshold=threshold, max_output_size=2), jit_compile=True
        )
        assert int(suppress(scores=tf.constant([[0.9, -0.8]]))[-1][0]) == kept


def gradients(call, jit):
    """Of half the sum of the results' squares, by the inputs that have one."""
    tensors = call.tensors("float32")
    watched = {name: given for name, given in tensors.items() if tf.nest.flatten(given)[0].dtype.is_floating}
    others = {name: given for name, given in tensors.items() if name not in watched}
    for name in kseg_ops.__all__:
        getattr(kseg_ops, name)  # a function's module, which has the gradient, is imported at its first use

    @tf.function(jit_compile=jit, autograph=False)
    def graph(watched):
        with tf.GradientTape() as tape:
            tape.watch(watched)
            results = tf.nest.flatten(_library.native_op(call.op)(**watched, **others, **call.attributes))
            value = tf.add_n([tf.reduce_sum(one**2) / 2 for one in results if one.dtype.is_floating])
        found = {name: tf.nest.flatten(one) for name, one in tape.gradient(value, watched).items()}
        return {name: one for name, one in found.items() if one[0] is not None}

    return {f"{name} {i}": one.numpy() for name, several in graph(watched).items() for i, one in enumerate(several)}


@pytest.mark.parametrize("call", DIFFERENTIABLE, ids=[call.op for call in DIFFERENTIABLE])
def test_gradient_equals_the_ordinary_graph(call):
    """Of all inputs that have one. Parts of a gradient are stock ops, whose sums XLA takes in another order."""
    plain, ours = gradients(call, jit=False), gradients(call, jit=True)
    assert plain
    assert plain.keys() == ours.keys()
    for name, expected in plain.items():
        largest = np.abs(expected).max()
        assert largest > 0, name
        # Sums of at most some 400 products.
        np.testing.assert_allclose(ours[name], expected, rtol=0, atol=400 * EPSILON * largest, err_msg=name)


def lowered() -> list[str]:
    return re.findall(r'Lowering\{"Kseg>(\w+)"', (CPP / "adapters/xla_bridge.cc").read_text())


def test_every_op_has_a_lowering_and_a_handler():
    registered, handled = [], []
    for path in CPP.glob("ops/*/*_tf.cc"):
        registered += re.findall(r'REGISTER_OP\("Kseg>(\w+)"\)', path.read_text())
        handlers = path.with_name(f"{path.parent.name}_xla.cc").read_text()
        handled += re.findall(r"KSEG_XLA_(?:HOST_HANDLER|HANDLERS)\((\w+),", handlers)
    assert registered
    assert sorted(lowered()) == sorted(registered) == sorted(handled)


def test_every_op_is_called_here():
    covered = {call.op for call in CALLS} | set(WITHOUT)
    assert {op_type(op) for op in covered} == set(lowered())


def test_every_gradient_is_taken_here():
    assert len(WITH_GRADIENT) > 5
    assert {call.op_type for call in DIFFERENTIABLE} == WITH_GRADIENT


def test_work_shared_by_threads():
    """Enough elements for several threads, of which the result knows nothing."""
    rng = np.random.default_rng(0)
    logits = tf.constant(rng.standard_normal((2, 64, 64, 8)), tf.float32)
    plain = kseg_ops.resize_argmax(logits, (256, 256))
    compiled = tf.function(lambda x: kseg_ops.resize_argmax(x, (256, 256)), jit_compile=True)(logits)
    np.testing.assert_array_equal(compiled, plain)
