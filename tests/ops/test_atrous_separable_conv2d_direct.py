"""The compiled atrous separable convolution where it convolves 3 x 3 taps straight from the map, without a copy."""

from __future__ import annotations

import numpy as np
import pytest

import kseg_ops
from kseg_ops import AsppBranch
from tests.helpers.atrous_cases import ACTIVATE, convolve, needs_native

pytestmark = needs_native

# Whole chunks of 32 channels take the direct form, the rest of them the general one.
CHANNELS = 70


def integers(shape, seed, most=4):
    """Values whose products and sums float32 holds exactly."""
    return np.random.default_rng(seed).integers(-most, most + 1, shape).astype(np.float32)


def depthwise_alone(x, filters, rate, padding, activation=None):
    """The depthwise half, by way of a pointwise half that changes nothing."""
    same = np.eye(x.shape[3], dtype=np.float32)[None, None]
    return kseg_ops.atrous_separable_conv2d(
        x, filters, same, rate, depthwise_activation=activation, padding=padding
    ).numpy()


# Every number of outputs in a row, up to more than two parts of the widest, with padding on both sides, one or none.
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("width", range(1, 35))
def test_rows_of_every_length(target, width, padding):
    lost = 0 if padding == "same" else 2
    x, filters = integers((1, 5 + lost, width + lost, CHANNELS), width), integers((3, 3, CHANNELS, 1), 99)
    expected = convolve(x, filters, (1, 1), padding)
    np.testing.assert_array_equal(depthwise_alone(x, filters, 1, padding), expected)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("rate", [(1, 2), (2, 1), (3, 5), (12, 12), (40, 3), (3, 40), (50, 50)], ids=str)
def test_rates_within_the_map_and_beyond(target, rate, padding):
    lost = (0, 0) if padding == "same" else (2 * rate[0], 2 * rate[1])
    x, filters = integers((2, 33 + lost[0], 31 + lost[1], CHANNELS), 1), integers((3, 3, CHANNELS, 1), 2)
    expected = convolve(x, filters, rate, padding)
    np.testing.assert_array_equal(depthwise_alone(x, filters, rate, padding), expected)


@pytest.mark.parametrize("activation", list(ACTIVATE))
def test_activations(target, activation):
    x, filters = integers((1, 9, 10, CHANNELS), 3), integers((3, 3, CHANNELS, 1), 4, most=1)
    expected = ACTIVATE[activation](convolve(x, filters, (2, 2), "same"))
    result = depthwise_alone(x, filters, 2, "same", activation)
    # Exact but for the sixth of a hard sigmoid: rounded itself, and the product with it, and that with the value.
    np.testing.assert_allclose(result, expected, rtol=4 * np.finfo(np.float32).eps if "hard" in activation else 0)


def test_nothing_of_the_padding_is_multiplied(target):
    """Only the direct form keeps an infinite weight away from every output whose tap lies in the padding."""
    x = np.ones((1, 9, 9, 64), np.float32)
    row, column = np.mgrid[:9, :9]
    met = ((row >= 4) & (column >= 4)) | ((row < 5) & (column < 5))
    for channel in (0, 31, 32, 63):
        filters, pointwise = np.ones((3, 3, 64, 1), np.float32), np.zeros((1, 1, 64, 1), np.float32)
        filters[[0, 2], [0, 2], channel] = np.inf
        pointwise[0, 0, channel] = 1
        values = kseg_ops.atrous_separable_conv2d(x, filters, pointwise, 4).numpy()[0, :, :, 0]
        np.testing.assert_array_equal(np.isposinf(values), met)
        assert np.all(np.isfinite(values[~met]))


def test_nan_passes_every_activation(target):
    x, filters = np.ones((1, 3, 3, 32), np.float32), np.ones((3, 3, 32, 1), np.float32)
    x[0, 1, 1] = np.nan
    for activation in ("linear", "relu", "relu6"):
        assert np.all(np.isnan(depthwise_alone(x, filters, 1, "same", activation)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("rate", [1, 4, 9])
def test_a_separable_branch_of_aspp(target, dtype, rate):
    x, depthwise = integers((1, 9, 11, CHANNELS), 5, most=1), integers((3, 3, CHANNELS, 1), 6, most=1)
    # 1 x 1 filters that pick ten channels, on both sides of the end of the direct form, and sum two each.
    picked = np.zeros((1, 1, CHANNELS, 10), np.float32)
    for column in range(10):
        picked[0, 0, [column, CHANNELS - 1 - column], column] = 1
    result = kseg_ops.aspp(
        x.astype(dtype),
        [AsppBranch(picked.astype(dtype), rate=rate, depthwise=depthwise.astype(dtype), depthwise_activation="relu")],
        AsppBranch(np.eye(10, dtype=dtype)[None, None], activation=None),
    )
    middle = np.maximum(convolve(x, depthwise, (rate, rate), "same"), 0)
    expected = np.maximum(middle @ picked[0, 0].astype(np.float64), 0)
    np.testing.assert_array_equal(result.numpy().astype(np.float64), expected)
