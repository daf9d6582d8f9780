"""The references that interpolate, compiled by XLA, against NumPy.

XLA gets TensorFlow's own `ResizeBilinear` wrong where an output lies on a pixel of the source.
"""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from kseg_ops.reference.interpolation import resize_bilinear
from kseg_ops.reference.resize_argmax import resize_argmax
from kseg_ops.reference.resize_softmax_cross_entropy import resize_softmax_cross_entropy_and_dice
from tests.helpers.bilinear import LENGTHS, SOURCES, in_one_graph, resized, zigzag

EPS = float(np.finfo(np.float32).eps)
# Some of those that the stock op gets wrong: sources, lengths, alignment.
WRONG = [(5, 9, False), (5, 17, False), (7, 21, False), (9, 33, False), (4, 16, True), (7, 22, True), (9, 15, True)]


@pytest.mark.parametrize("align_corners", [False, True])
def test_every_small_size_under_xla(align_corners):
    compiled = in_one_graph(lambda values, length: resize_bilinear(values, (1, length), align_corners), True, LENGTHS)
    for source in SOURCES:
        values = zigzag(source)
        for length, result in zip(LENGTHS, compiled(values), strict=True):
            expected = resized(values, (1, length), align_corners)
            # A difference of at most 20, times a weight, and a sum: three roundings, of numbers of at most 20.
            np.testing.assert_allclose(result, expected, rtol=0, atol=3 * 20 * EPS / 2)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("unknown", [False, True])
def test_ordinary_graphs_agree_with_the_stock_op(align_corners, unknown):
    rng = np.random.default_rng(0)
    signature = [tf.TensorSpec([None] * 4), tf.TensorSpec([2], tf.int32)]
    graph = tf.function(lambda values, size: resize_bilinear(values, size, align_corners), input_signature=signature)
    for source in ((5, 9), (4, 7), (9, 1), (33, 16), (8, 8)):
        values = rng.uniform(-1, 1, (2, *source, 3)).astype(np.float32)
        for size in ((9, 33), (16, 28), (8, 8), (130, 1)):
            stock = tf.raw_ops.ResizeBilinear(
                images=values, size=size, align_corners=align_corners, half_pixel_centers=not align_corners
            )
            ours = graph(values, size) if unknown else resize_bilinear(tf.constant(values), size, align_corners)
            # The stock op's positions are float32, off by three roundings of up to 34; a pixel further is 2 at most.
            np.testing.assert_allclose(ours, stock, rtol=0, atol=(3 * 34 * 2 + 12) * EPS)


@pytest.mark.parametrize(("source", "length", "align_corners"), WRONG)
def test_classes_under_xla(source, length, align_corners):
    logits = np.random.default_rng(source).uniform(-1, 1, (1, source, source, 6)).astype(np.float32)
    compiled = tf.function(lambda values: resize_argmax(values, (length, length), align_corners), jit_compile=True)
    values = np.sort(resized(logits, (length, length), align_corners), -1)
    # Where the first two differ by more than the roundings of numbers up to 1.
    clear = values[..., -1] - values[..., -2] > 16 * EPS
    assert clear.mean() > 0.99
    expected = resized(logits, (length, length), align_corners).argmax(-1)
    np.testing.assert_array_equal(compiled(tf.constant(logits))[clear], expected[clear])


@pytest.mark.parametrize(("source", "length", "align_corners"), WRONG)
def test_loss_and_sums_under_xla(source, length, align_corners):
    rng = np.random.default_rng(source)
    logits = rng.standard_normal((1, source, source, 3)).astype(np.float32)
    labels = rng.integers(0, 3, (1, length, length))
    labels[:, 2] = 255

    @tf.function(jit_compile=True)
    def compiled(logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            results = resize_softmax_cross_entropy_and_dice(
                labels, logits, tf.ones([1, 1, 1]), align_corners=align_corners
            )
        return *results, tape.gradient(results[0], logits)

    loss, sums, gradient = compiled(tf.constant(logits))
    valid = (labels != 255)[..., None]
    full = resized(logits, (length, length), align_corners)
    probability = np.exp(full) / np.exp(full).sum(-1, keepdims=True) * valid
    truth = np.eye(3)[np.where(labels == 255, 0, labels)] * valid
    expected = -np.log((probability * truth).sum(-1) + (1 - valid[..., 0]))
    # Logits up to 4, some ten operations; sums have that many terms.
    np.testing.assert_allclose(loss, expected, rtol=0, atol=10 * 4 * EPS)
    expected_sums = np.stack([np.sum(part, (1, 2)) for part in (probability * truth, probability, truth)], 1)
    np.testing.assert_allclose(sums, expected_sums, rtol=0, atol=10 * length**2 * EPS)
    # The gradient is the transpose of the interpolation, column by column.
    weights = resized(np.eye(source)[None, :, None], (length, 1), align_corners)[0, :, 0]
    expected_gradient = np.einsum("ih,jw,bijc->bhwc", weights, weights, probability - truth)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=0, atol=10 * length**2 * EPS)


def test_a_size_below_1_is_named():
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?s)size must be at least 1 x 1, got.*0"):
        tf.function(resize_argmax)(tf.zeros([1, 2, 2, 3]), tf.constant([4, 0]))
