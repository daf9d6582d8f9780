"""kseg_ops.numpy: the kernels without TensorFlow. The ops' own tests hold the semantics, these hold the binding."""

from __future__ import annotations

import json

import numpy as np
import pytest

import kseg_ops
import kseg_ops.numpy
from kseg_ops import _library
from tests.helpers.kseg_ops_copy import PACKAGE, run_python

native = pytest.mark.skipif(_library.core() is None, reason="the NumPy module is not in use")


@pytest.fixture
def random():
    return np.random.default_rng(0)


@native
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_roi_align_equals_the_tensorflow_op(random, dtype):
    features = random.normal(size=(2, 9, 7, 5)).astype(dtype)
    boxes = [[0.5, 0.5, 6.0, 8.0], [-3.0, 2.0, 3.0, 30.0], [1.0, 1.0, 1.0, 1.0]]
    ours = kseg_ops.numpy.roi_align(features, boxes, [1, 0, 1], (3, 2), 0.5, 0, False)
    theirs = kseg_ops.roi_align(features, boxes, [1, 0, 1], (3, 2), 0.5, 0, False)
    assert ours.dtype == features.dtype
    np.testing.assert_array_equal(ours, theirs.numpy())  # the same kernel on the same numbers


@native
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_confusion_matrix_equals_a_count(random, dtype):
    labels = random.integers(0, 4, size=(3, 11)).astype(dtype)
    predictions = random.integers(0, 3, size=(3, 11)).astype(dtype)
    expected = np.zeros((3, 3), np.int64)
    for truth, prediction in zip(labels.ravel(), predictions.ravel(), strict=True):
        if truth != 3:
            expected[truth, prediction] += 1
    np.testing.assert_array_equal(kseg_ops.numpy.confusion_matrix(labels, predictions, 3, ignore_index=3), expected)
    logits = np.eye(3, dtype=np.float32)[predictions.astype(int)]
    np.testing.assert_array_equal(kseg_ops.numpy.confusion_matrix(labels, logits, 3, ignore_index=3), expected)


@native
def test_resize_argmax_equals_the_tensorflow_op(random):
    logits = random.normal(size=(2, 5, 4, 6)).astype(np.float32)
    for align_corners in (False, True):
        ours = kseg_ops.numpy.resize_argmax(logits, (13, 9), align_corners)
        assert ours.dtype == np.int32
        np.testing.assert_array_equal(ours, kseg_ops.resize_argmax(logits, (13, 9), align_corners).numpy())


@native
def test_strided_and_byte_swapped_arrays_are_read_right(random):
    logits = random.normal(size=(1, 6, 8, 3)).astype(np.float32)
    expected = kseg_ops.numpy.resize_argmax(np.ascontiguousarray(logits[:, ::2, ::-1]), (5, 7))
    np.testing.assert_array_equal(kseg_ops.numpy.resize_argmax(logits[:, ::2, ::-1], (5, 7)), expected)
    swapped = logits.astype(logits.dtype.newbyteorder())
    np.testing.assert_array_equal(
        kseg_ops.numpy.resize_argmax(swapped, (5, 7)), kseg_ops.numpy.resize_argmax(logits, (5, 7))
    )


@native
def test_refusals():
    with pytest.raises(TypeError, match=r"features must be one of float32, float16, bfloat16, float64, got int64"):
        kseg_ops.numpy.roi_align(np.zeros((1, 2, 2, 1), np.int64), [[0, 0, 1, 1]], [0], (1, 1))
    with pytest.raises(ValueError, match="features must have rank 4, got rank 2"):
        kseg_ops.numpy.roi_align(np.zeros((2, 2), np.float32), [[0, 0, 1, 1]], [0], (1, 1))
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.1 or equal ignore_index=255, got 7"):
        kseg_ops.numpy.confusion_matrix([7], [0], 2)
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.1.*, got -1"):
        kseg_ops.numpy.confusion_matrix(np.array([2**64 - 1], np.uint64), [0], 2)
    with pytest.raises(ValueError, match="size must be at least 1 x 1, got 0 x 3"):
        kseg_ops.numpy.resize_argmax(np.zeros((1, 2, 2, 1), np.float32), (0, 3))


def test_without_the_library_the_error_says_why(monkeypatch):
    monkeypatch.setenv("KSEG_NATIVE", "0")
    with pytest.raises(RuntimeError, match=r"kseg_ops\.numpy needs the compiled library, .*: KSEG_NATIVE=0 is set\."):
        kseg_ops.numpy.confusion_matrix([0], [0], 2)


FORK = """
import json, os, sys, warnings
import numpy as np
import kseg_ops.numpy as ops
from kseg_ops import _library
warnings.simplefilter("ignore", DeprecationWarning)  # Python's own, on fork beside threads
_library.core().set_num_threads(3)
logits = np.random.default_rng(0).normal(size=(2, 64, 64, 21)).astype(np.float32)
first = ops.resize_argmax(logits, (256, 256))  # starts the pool
child = os.fork()
if child == 0:
    same = np.array_equal(ops.resize_argmax(logits, (256, 256)), first)
    os._exit(0 if same else 1)
status = os.waitpid(child, 0)[1]
same = np.array_equal(ops.resize_argmax(logits, (256, 256)), first)
print(json.dumps([status, bool(same), "tensorflow" in sys.modules]))
"""


@native
@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork on this system")
def test_the_pool_survives_a_fork_and_tensorflow_is_not_needed():
    done = run_python(FORK, PACKAGE.parent)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == [0, True, False]


@native
def test_box_indices_beyond_int32_are_refused_instead_of_wrapping_round():
    features = np.zeros((1, 4, 4, 1), np.float32)
    boxes = np.array([[0, 0, 4, 4]], np.float32)
    with pytest.raises(ValueError, match=r"box_indices must be in 0\.\.B-1"):
        kseg_ops.numpy.roi_align(features, boxes, np.array([2**32]), (2, 2))
    with pytest.raises(TypeError, match="box_indices must be integers, got float64"):
        kseg_ops.numpy.roi_align(features, boxes, np.array([0.5]), (2, 2))
