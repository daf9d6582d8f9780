"""`kseg_ops.resize_argmax` in graphs with unknown shapes, and what it says of arguments that it cannot take."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
import kseg_ops.numpy
from kseg_ops import _library


@pytest.mark.parametrize("use_reference", [False, True])
@pytest.mark.parametrize("shape", [None, [None] * 4, [2, None, None, 8]])
@pytest.mark.parametrize("align_corners", [False, True])
def test_unknown_shapes(use_reference, shape, align_corners):
    def classes(logits, size):
        if use_reference:
            with kseg_ops.use_reference():
                return kseg_ops.resize_argmax(logits, size, align_corners)
        return kseg_ops.resize_argmax(logits, size, align_corners)

    logits = tf.random.stateless_normal([2, 4, 5, 8], seed=[11, 0])
    expected = classes(logits, (9, 20))  # eagerly, where every shape is known
    dynamic = tf.function(classes, input_signature=[tf.TensorSpec(shape, tf.float32), tf.TensorSpec([2], tf.int32)])
    assert dynamic.get_concrete_function().output_shapes.as_list() == [shape and shape[0], None, None]
    np.testing.assert_array_equal(dynamic(logits, [9, 20]), expected)

    static = tf.function(lambda logits: classes(logits, (9, 20)), input_signature=[tf.TensorSpec(shape, tf.float32)])
    assert static.get_concrete_function().output_shapes.as_list() == [shape and shape[0], 9, 20]
    np.testing.assert_array_equal(static(logits), expected)


def test_size_of_another_tensor():
    logits = tf.random.stateless_normal([1, 4, 4, 3], seed=[1, 2])
    image = tf.zeros([1, 16, 12, 3])
    expected = kseg_ops.resize_argmax(logits, (16, 12))
    for size in (tf.shape(image)[1:3], (tf.shape(image)[1], 12), np.array([16, 12]), image.shape[1:3], [16, 12]):
        np.testing.assert_array_equal(kseg_ops.resize_argmax(logits, size), expected)


@pytest.mark.skipif(_library.core() is None, reason="needs the compiled library")
def test_native_op_checks_what_is_known_at_run_time_only():
    @tf.function(input_signature=[tf.TensorSpec(None), tf.TensorSpec(None, tf.int32)])
    def classes(logits, size):
        return kseg_ops.resize_argmax(logits, size)

    graph = classes.get_concrete_function().graph
    assert "Kseg>ResizeArgmax" in {operation.type for operation in graph.get_operations()}
    good = tf.zeros([1, 2, 2, 3])
    for logits, size, message in (
        (tf.zeros([2, 2, 3]), [4, 4], "logits must have rank 4"),
        (good, [4, 0], "size must be at least 1 x 1, got 4 x 0"),
        (good, [4, -4], "size must be at least 1 x 1, got 4 x -4"),
        (good, [4, 4, 4], "size must have 2 elements"),
        (good, [2**31 - 1, 2**31 - 1], "size is too large"),
        (tf.zeros([1, 0, 2, 3]), [4, 4], "a height, a width and a number of classes of at least 1"),
        (tf.zeros([1, 2, 2, 0]), [4, 4], "a height, a width and a number of classes of at least 1"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            classes(logits, size)


@pytest.mark.parametrize(
    ("logits", "size", "error", "message"),
    [
        (np.zeros((1, 2, 2, 3), "int32"), (4, 4), TypeError, r"logits must be floating .*got dtype int32"),
        (np.zeros((2, 2, 3), "float32"), (4, 4), ValueError, r"logits must have rank 4, .*got shape \(2, 2, 3\)"),
        (np.zeros((1, 0, 2, 3), "float32"), (4, 4), ValueError, r"at least 1, got shape \(1, 0, 2, 3\)"),
        (np.zeros((1, 2, 2, 3), "float32"), 4, ValueError, r"size must be two integers, \(height, width\), got 4"),
        (np.zeros((1, 2, 2, 3), "float32"), (4, 4, 4), ValueError, r"size must be two integers, .*got \(4, 4, 4\)"),
        (np.zeros((1, 2, 2, 3), "float32"), (4, 0), ValueError, r"size\[1\] must be in 1\.\.2147483647, got 0"),
        (
            np.zeros((1, 2, 2, 3), "float32"),
            (4.5, 4),
            TypeError,
            r"size\[0\] must be an integer, got 4.5 of type float",
        ),
        (
            np.zeros((1, 2, 2, 3), "float32"),
            tf.constant([4.0, 4.0]),
            TypeError,
            "size must be of an integer type, got dtype float32",
        ),
        (
            np.zeros((1, 2, 2, 3), "float32"),
            tf.constant([4]),
            ValueError,
            r"size must have shape \[2\], .*got shape \(1,\)",
        ),
    ],
)
def test_bad_arguments(logits, size, error, message):
    with pytest.raises(error, match=message):
        kseg_ops.resize_argmax(logits, size)


@pytest.mark.parametrize("use_reference", [False, True])
@pytest.mark.parametrize("dtype", ["uint32", "int64", "uint64"])
def test_a_size_beyond_int32_does_not_wrap_round(use_reference, dtype):
    def classes(size):
        logits = tf.zeros([1, 2, 2, 3])
        if use_reference:
            with kseg_ops.use_reference():
                return kseg_ops.resize_argmax(logits, size)
        return kseg_ops.resize_argmax(logits, size)

    number = 2**32 - 1 if dtype == "uint32" else 2**32 + 2
    graph = tf.function(classes, input_signature=[tf.TensorSpec([2], dtype)])
    for call in (classes, graph):
        with pytest.raises(tf.errors.InvalidArgumentError, match=rf"(?s)size must be at most 2147483647.*{number}"):
            call(tf.constant([number, 2], dtype))
        assert call(tf.constant([3, 5], dtype)).shape == (1, 3, 5)


def test_a_flag_is_a_bool():
    logits = np.zeros((1, 2, 2, 3), np.float32)
    for module in (kseg_ops, kseg_ops.numpy) if _library.core() else (kseg_ops,):
        with pytest.raises(TypeError, match="align_corners must be True or False, got 'False'"):
            module.resize_argmax(logits, (4, 4), align_corners="False")


def test_keras_tensors_are_refused_with_the_alternative():
    with pytest.raises(TypeError, match=r"logits is a KerasTensor.*keras.layers.Resizing.*argmax"):
        kseg_ops.resize_argmax(keras.Input((4, 4, 3)), (8, 8))


def test_has_no_gradient():
    logits = tf.Variable(tf.random.stateless_normal([1, 2, 2, 3], seed=[1, 2]))
    with tf.GradientTape() as tape:
        total = tf.cast(tf.reduce_sum(kseg_ops.resize_argmax(logits, (4, 4))), tf.float32)
    assert tape.gradient(total, logits) is None
