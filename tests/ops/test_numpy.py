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
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.1.*, got 9223372036854775807"):
        kseg_ops.numpy.confusion_matrix(np.array([2**64 - 1], np.uint64), [0], 2, ignore_index=-1)
    with pytest.raises(ValueError, match=r"size\[0\] must be in 1..2147483647, got 0"):
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


@native
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"output_size": (2.7, 2)}, TypeError, "output_size must be an integer, got 2.7"),
        ({"output_size": ("3", 2)}, TypeError, "output_size must be an integer, got '3'"),
        ({"output_size": 2**70}, ValueError, "output_size must be in 1..1048576, got 1180591620717411303424"),
        ({"aligned": "False"}, TypeError, "aligned must be True or False, got 'False' of type str"),
        ({"aligned": 1}, TypeError, "aligned must be True or False, got 1 of type int"),
        ({"sampling_ratio": 1.7}, TypeError, "sampling_ratio must be an integer, got 1.7"),
        ({"sampling_ratio": 2**70}, ValueError, "sampling_ratio must be in 0..128, got 1180591620717411303424"),
        ({"spatial_scale": "1"}, TypeError, "spatial_scale must be a Python number, got '1'"),
        ({"spatial_scale": 10**400}, ValueError, "spatial_scale must be positive and finite in float32"),
        ({"boxes": np.zeros((1, 4), np.float16)}, TypeError, "boxes must be float32, got float16"),
        ({"boxes": np.zeros((1, 4), bool)}, TypeError, "boxes must be float32, got bool"),
        ({"box_indices": [2**70]}, ValueError, "box_indices must be in 0..B-1, got 1180591620717411303424"),
    ],
)
@pytest.mark.parametrize("module", [kseg_ops.numpy, kseg_ops], ids=["numpy", "tensorflow"])
def test_roi_align_refuses_what_the_op_refuses(module, change, error, message):
    given = {"features": np.zeros((1, 4, 4, 1), np.float32), "boxes": [[0, 0, 4, 4]], "box_indices": [0]}
    with pytest.raises(error, match=message):
        module.roi_align(**{**given, "output_size": 2, **change})


@native
@pytest.mark.parametrize("module", [kseg_ops.numpy, kseg_ops], ids=["numpy", "tensorflow"])
def test_other_ops_refuse_the_same(module):
    labels = np.zeros(3, np.int32)
    for classes, ignore_index, error, message in (
        (2.9, 255, TypeError, "num_classes must be an integer, got 2.9"),
        ("3", 255, TypeError, "num_classes must be an integer, got '3'"),
        (2**70, 255, ValueError, "num_classes must be in 1..16384, got 1180591620717411303424"),
        (3, 1.5, TypeError, "ignore_index must be an integer, got 1.5"),
        (3, 2**63, ValueError, "ignore_index must be in .*, got 9223372036854775808"),
    ):
        with pytest.raises(error, match=message):
            module.confusion_matrix(labels, labels, classes, ignore_index)
    logits = np.zeros((1, 2, 2, 3), np.float32)
    for size, error, message in (
        ((2.5, 2), TypeError, r"size\[0\] must be an integer, got 2.5"),
        ((2, 2**70), ValueError, r"size\[1\] must be in 1..2147483647, got 1180591620717411303424"),
        (2, ValueError, r"size must be two integers, \(height, width\), got 2"),
    ):
        with pytest.raises(error, match=message):
            module.resize_argmax(logits, size)


@native
def test_one_int_is_a_square_output_size():
    features = np.ones((1, 4, 4, 1), np.float32)
    assert kseg_ops.numpy.roi_align(features, [[0, 0, 4, 4]], [0], 2).shape == (1, 2, 2, 1)


@native
def test_boxes_of_text_are_refused():
    """Not shared with the TensorFlow wrapper: TensorFlow refuses a list of strings in its own words."""
    with pytest.raises(TypeError, match="boxes must be float32, got str"):
        kseg_ops.numpy.roi_align(np.zeros((1, 4, 4, 1), np.float32), [["1", "2", "3", "4"]], [0], 2)
