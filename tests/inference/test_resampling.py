"""Resampling one axis by taps: the geometry of tf.image.resize, and any part of it alone."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from kseg.inference.resampling import bilinear_taps, mirrored_pixels

SIZES = [(7, 7), (7, 14), (14, 7), (9, 4), (9, 13), (40, 11), (5, 1), (1, 5), (1, 1), (64, 7)]


@pytest.mark.parametrize(("source", "length"), SIZES)
@pytest.mark.parametrize("antialias", [False, True])
def test_both_axes_are_what_tensorflow_makes(source, length, antialias):
    image = np.random.default_rng(0).uniform(size=(source, source + 3, 2)).astype(np.float32)
    rows = bilinear_taps(np.arange(length), length, source, antialias)
    columns = bilinear_taps(np.arange(length + 2), length + 2, source + 3, antialias)
    expected = tf.image.resize(image, (length, length + 2), antialias=antialias).numpy()
    # TensorFlow finds its coordinates in float32: up to 64 * 2**-24 off, times a slope of at most 1, on two axes.
    np.testing.assert_allclose(columns(rows(image, 0), 1), expected, atol=2 * 64 * 2.0**-24 + 4 * 2.0**-24)


@pytest.mark.parametrize(("source", "length"), SIZES)
def test_a_part_is_a_part_of_the_whole(source, length):
    values = np.random.default_rng(1).uniform(size=source).astype(np.float32)
    whole = bilinear_taps(np.arange(length), length, source, antialias=True)(values, 0)
    wanted = np.arange(length)[length // 3 : length // 3 + 4]
    taps = bilinear_taps(wanted, length, source, antialias=True)
    first, last = taps.indices.min(), taps.indices.max() + 1
    np.testing.assert_array_equal(taps.shifted(first)(values[first:last], 0), whole[wanted])


def test_constants_stay_and_weights_sum_to_one():
    for source, length in SIZES:
        taps = bilinear_taps(np.arange(length), length, source, antialias=True)
        np.testing.assert_allclose(taps.weights.sum(0), 1.0, atol=len(taps.weights) * 2.0**-24)
        assert taps.indices.min() >= 0
        assert taps.indices.max() < source


def test_halving_by_hand():
    values = np.array([0, 1, 4, 9], np.float32)
    # Without antialiasing each result is the mean of the two pixels below it; with it the neighbours count a third.
    np.testing.assert_allclose(bilinear_taps(np.arange(2), 2, 4, False)(values, 0), [0.5, 6.5])
    np.testing.assert_allclose(
        bilinear_taps(np.arange(2), 2, 4, True)(values, 0),
        [(0 * 3 + 1 * 3 + 4) / 7, (1 + 4 * 3 + 9 * 3) / 7],
        rtol=1e-6,
    )


@pytest.mark.parametrize("length", [1, 2, 5])
def test_mirrors(length):
    wanted = np.arange(-4, length + 4)
    expected = np.pad(np.arange(length), 4, mode="reflect") if length > 1 else np.zeros(9, int)
    np.testing.assert_array_equal(mirrored_pixels(wanted, length), expected)
