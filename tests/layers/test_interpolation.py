"""Interpolation by matrices: against NumPy, and what layers and losses make of it under XLA."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import kseg
import kseg_ops
from kseg._corner_alignment import aligned_corners
from kseg.layers import UpBlock
from kseg.layers._interpolation import interpolation_matrix, resize_bilinear
from tests.helpers.bilinear import in_one_graph, resized, zigzag

EPS = float(np.finfo(np.float32).eps)
SOME = (1, 2, 5, 9, 11, 12, 15, 16, 17, 19, 21, 25, 33)


@pytest.mark.parametrize("align_corners", [False, True])
def test_every_small_size_under_xla(align_corners):
    compiled = in_one_graph(lambda values, length: resize_bilinear(values, (1, length), align_corners), True, SOME)
    for source in (1, 4, 5, 9):
        values = zigzag(source)
        for length, result in zip(SOME, compiled(values), strict=True):
            expected = resized(values, (1, length), align_corners)
            np.testing.assert_allclose(result, expected, rtol=0, atol=3 * 10 * EPS)  # two terms of at most 10


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("unknown", [False, True])
def test_long_axes_in_bands(align_corners, unknown):
    signature = [tf.TensorSpec([None] * 4), tf.TensorSpec([2], tf.int32)]
    graph = tf.function(lambda values, size: resize_bilinear(values, size, align_corners), input_signature=signature)
    rng = np.random.default_rng(0)
    for source in ((40, 3), (1, 200), (65, 64)):
        values = rng.uniform(-1, 1, (2, *source, 3)).astype(np.float32)
        for size in ((160, 65), (129, 128), (3, 500), (64, 1), (0, 7)):
            result = graph(values, size) if unknown else resize_bilinear(tf.constant(values), size, align_corners)
            np.testing.assert_allclose(result, resized(values, size, align_corners), rtol=0, atol=6 * EPS)
    for values in (np.zeros((0, 3, 4, 5), np.float32), np.zeros((2, 3, 4, 0), np.float32)):
        assert graph(values, (70, 6)).shape == (values.shape[0], 70, 6, values.shape[3])


@pytest.mark.parametrize("align_corners", [False, True])
def test_an_output_on_a_point_takes_nothing_from_others(align_corners):
    for points, length in ((4, 12), (5, 9), (7, 49), (49, 7), (13, 117)):
        matrix = interpolation_matrix(points, length, tf.float32, align_corners).numpy()
        position = np.arange(length) * (points - 1) if align_corners else (2 * np.arange(length) + 1) * points - length
        whole = length - 1 if align_corners else 2 * length
        on_a_point = position % whole == 0
        assert on_a_point.any()
        np.testing.assert_array_equal(np.count_nonzero(matrix[on_a_point], axis=1), 1)
        np.testing.assert_array_equal(matrix[on_a_point].max(1), 1)


def test_gradient_is_the_transpose():
    values = tf.random.stateless_uniform([1, 40, 3, 2], seed=[1, 2])
    upstream = tf.random.stateless_uniform([1, 150, 70, 2], seed=[3, 4])
    with tf.GradientTape() as tape:
        tape.watch(values)
        result = resize_bilinear(values, (150, 70), False)
    rows, columns = (interpolation_matrix(*one, tf.float64, False) for one in ((40, 150), (3, 70)))
    expected = np.einsum("hy,wx,bhwc->byxc", rows, columns, upstream.numpy().astype(np.float64))
    # Up to 9 rows times 47 columns of at most 1.
    np.testing.assert_allclose(tape.gradient(result, values, upstream), expected, rtol=0, atol=9 * 47 * EPS)


@pytest.mark.parametrize("source", [*range(1, 10), 37, 64])
def test_doubling_is_right_under_xla(source):
    """It stays with the stock op: no output of twice the size lies on a pixel of the source."""
    block = UpBlock(2, upsampling="bilinear", norm=None)
    double = block.upsample[-1]
    values = zigzag(source, 2)
    result = tf.function(double, jit_compile=True)(values)
    np.testing.assert_allclose(result, resized(values, (2, 2 * source), False), rtol=0, atol=3 * 20 * EPS)


@pytest.mark.parametrize(("source", "length", "align_corners"), [(7, 21, False), (4, 16, True)])
@pytest.mark.parametrize("loss", [kseg.losses.Focal(), kseg.losses.Tversky()], ids=["focal", "tversky"])
def test_losses_of_small_logits_under_xla(loss, source, length, align_corners):
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((1, source, source, 3)).astype(np.float32)
    labels = rng.integers(0, 3, (1, length, length))
    full = resized(logits, (length, length), align_corners).astype(np.float32)
    with aligned_corners(align_corners), kseg_ops.use_reference():
        small = tf.function(loss, jit_compile=True)(labels, tf.constant(logits))
    np.testing.assert_allclose(small, loss(labels, full), rtol=length**2 * EPS)
