"""The building blocks of MobileNets."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kseg.layers import InvertedResidual, SqueezeExcitation
from tests.helpers.layer_checks import check_layer


def test_squeeze_excitation():
    expected = (8 * 5 + 5) + (5 * 8 + 8)
    check_layer(lambda **kw: SqueezeExcitation(5, **kw), (2, 7, 5, 8), (2, 7, 5, 8), weights=expected)


def test_squeeze_excitation_by_hand():
    """Means 1 and 3; the middle is relu(1 * 1 + 2 * 3 - 5) = 2; the factors relu6(x + 3) / 6 of 0.5 * 2 and -1 * 2."""
    layer = SqueezeExcitation(1)
    x = np.array([[[0, 2], [2, 4]]], "float32").reshape(1, 1, 2, 2)
    layer(x)
    values = [[[[[1], [2]]]], [-5], [[[[0.5, -1]]]], [0, 0]]
    layer.set_weights([np.array(value) for value in values])
    np.testing.assert_allclose(layer(x)[0, 0], [[0, 2 / 6], [2 * 4 / 6, 4 / 6]], rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "channels", "sizes", "weights"),
    [
        # 1x1 and normalisation, 3x3 and normalisation, 1x1 and normalisation
        ({}, 4, (5, 6), (4 * 8 + 16) + (9 * 8 + 16) + (8 * 4 + 8)),
        ({"kernel_size": 5, "strides": 2}, 6, (3, 3), (6 * 8 + 16) + (25 * 8 + 16) + (8 * 4 + 8)),
        ({"rate": 2, "activation": "hard_silu"}, 8, (5, 6), (9 * 8 + 16) + (8 * 4 + 8)),
        ({"squeeze_filters": 3}, 8, (5, 6), (9 * 8 + 16) + (8 * 3 + 3 + 3 * 8 + 8) + (8 * 4 + 8)),
    ],
)
def test_inverted_residual(options, channels, sizes, weights):
    keras.utils.set_random_seed(0)  # with some weights the squeezed features are all negative, and get no gradient
    check_layer(
        lambda **kw: InvertedResidual(8, 4, **options, **kw), (2, 5, 6, channels), (2, *sizes, 4), weights=weights
    )


@pytest.mark.parametrize(("options", "added"), [({}, True), ({"residual": False}, False), ({"strides": 2}, False)])
def test_residual(options, added):
    """With a last convolution of zeros only the input is left."""
    layer = InvertedResidual(8, 4, **options)
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 4)).astype("float32")
    layer(x)
    layer.block[-1].kernel.assign(np.zeros((1, 1, 8, 4)))
    outputs = np.asarray(layer(x))
    np.testing.assert_array_equal(outputs, x if added else np.zeros_like(outputs))


def test_refuses():
    with pytest.raises(ValueError, match="squeeze_filters must be a positive int; got 0"):
        SqueezeExcitation(0)
    with pytest.raises(ValueError, match="filters must be a positive int; got 0"):
        InvertedResidual(8, 0)(np.zeros((1, 4, 4, 4)))
