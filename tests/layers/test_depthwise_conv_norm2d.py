"""The depthwise convolution with normalisation and activation."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.layers import DepthwiseConvNorm2D
from tests.helpers.layer_checks import check_layer


@pytest.mark.parametrize(
    ("options", "sizes"),
    [({}, (7, 6)), ({"strides": 2, "kernel_size": 5}, (4, 3)), ({"rate": 3, "kernel_size": (3, 5)}, (7, 6))],
)
@pytest.mark.parametrize("norm", ["batch", None])
def test_layer(options, sizes, norm):
    check_layer(lambda **kw: DepthwiseConvNorm2D(norm=norm, **options, **kw), (2, 7, 6, 4), (2, *sizes, 4))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [2, 3, 3, 3, 2]),
        ({"strides": 2}, [2, 3, 2]),
        # Taps at -2, 0 and 2: the first two and the last two pixels miss one of them.
        ({"rate": 2}, [2, 2, 3, 2, 2]),
        ({"kernel_size": 5, "rate": 2}, [3, 2, 3, 2, 3]),
    ],
)
def test_pads_both_sides_alike(options, expected):
    """With weights of 1 each output counts the pixels under its taps."""
    layer = DepthwiseConvNorm2D(norm=None, activation=None, kernel_initializer="ones", **options)
    np.testing.assert_array_equal(layer(np.ones((1, 1, 5, 1)))[0, 0, :, 0], expected)


def test_stride_on_an_even_size_starts_one_pixel_before_the_map():
    layer = DepthwiseConvNorm2D(strides=2, norm=None, activation=None, kernel_initializer="ones")
    np.testing.assert_array_equal(layer(np.ones((1, 1, 4, 1)))[0, 0, :, 0], [2, 3])


@pytest.mark.parametrize("options", [{}, {"strides": 2, "kernel_size": 5}, {"rate": 2}])
def test_in_a_graph(options):
    """TensorFlow fuses a depthwise convolution with what follows it; some padding then kills the process."""
    layer = DepthwiseConvNorm2D(**options)
    x = np.random.default_rng(0).normal(size=(1, 9, 8, 8)).astype("float32")
    expected = layer(x)
    traced = tf.function(layer, input_signature=[tf.TensorSpec([None, None, None, 8])])
    # At most 25 products and a sum below 10 in magnitude, in another order: under 1e-4.
    np.testing.assert_allclose(traced(x), expected, atol=1e-4)


@pytest.mark.parametrize("rate", [1, 2])
def test_folds_its_normalisation(rate):
    layer = DepthwiseConvNorm2D(rate=rate, use_bias=True, activation="hard_silu", norm_epsilon=0.1)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 6, 5, 3)).astype("float32")
    layer(x)
    layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.weights])
    plain = keras.layers.DepthwiseConv2D(3, padding="same", dilation_rate=rate)
    plain.build(x.shape)
    plain.set_weights([layer.kernel, layer.bias])
    expected = keras.activations.hard_silu(layer.batch_norm(plain(x)))
    # Ten products of magnitude below 10, in another order: 100 * 2**-24 relative, at most 1e-5.
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-5)


def test_initial_variance_is_that_of_one_channel():
    """Variance 2 / (kh * kw); the bound is 5 standard errors of a variance from n draws of a distribution whose
    kurtosis is below a normal's."""
    layer = DepthwiseConvNorm2D(3)
    layer.build((None, None, None, 2048))
    kernel = np.asarray(layer.kernel)
    assert abs(kernel.var() * 9 / 2 - 1) < 5 * np.sqrt(2 / kernel.size)


def test_refuses():
    with pytest.raises(ValueError, match="kernel_size must be odd"):
        DepthwiseConvNorm2D(4)
    with pytest.raises(ValueError, match="rate=2 needs strides=1; got strides=2"):
        DepthwiseConvNorm2D(strides=2, rate=2)
