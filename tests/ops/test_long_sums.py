"""Long sums are added up by blocks: their rounding errors grow with the square root of a block, not of the whole sum.

The compiled kernels add CHAIN products one after the other and then these sums, so that of n products each step of
rounding falls on a sum of at most CHAIN, or of n / CHAIN blocks of them.
"""

from __future__ import annotations

import numpy as np

import kseg_ops
import kseg_ops.numpy
from kseg_ops import AsppBranch
from tests.helpers.convolution_cases import EPS, native_atrous_conv2d, needs_native

pytestmark = needs_native("atrous_conv2d")

CHAIN = 256
IMAGES = 6
FILTERS = 40


def most_rms(terms):
    """The largest root mean square of the error of a sum of `terms` products of variance 1.

    A sum s is rounded by at most EPS / 2 of |s| either way, evenly: the error's mean square is at most (EPS s)^2 / 12.
    The k-th sum of a chain has s^2 = k in the mean. So a chain of b adds EPS^2 b^2 / 24, all n / b of them
    EPS^2 n b / 24, and the sum of the n / b chains, whose terms have variance b, EPS^2 (n / b)^2 b / 24. One chain of
    all would have EPS^2 n^2 / 24, and does have about half of it: 3 times the bound and more for the sums below. Where
    products are rounded on their own, they add EPS^2 n / 12.
    """
    return EPS * np.sqrt(terms / 24 * (CHAIN + terms / CHAIN + 2))


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def check(result, x, matrix):
    """The rows of x times the matrix, within the bound; and one chain is not."""
    x, matrix = x.reshape(IMAGES, -1), matrix.reshape(-1, FILTERS)
    exact = x.astype(np.float64) @ matrix.astype(np.float64)
    chain = np.zeros((IMAGES, FILTERS), np.float32)
    for values, row in zip(x.T, matrix, strict=True):
        chain += values[:, None] * row
    bound = most_rms(len(matrix))
    assert rms(np.reshape(result, exact.shape) - exact) <= bound
    assert rms(chain - exact) > 1.5 * bound


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def identity():
    return np.eye(FILTERS, dtype=np.float32)[None, None]


def test_atrous_convolution(target, monkeypatch):
    x, filters = normal(1, IMAGES, 3, 3, 2048), normal(2, 3, 3, 2048, FILTERS)
    result = native_atrous_conv2d(monkeypatch)(x, filters, padding="valid").numpy()
    check(result, x, filters)


def test_separable_convolution(target):
    x, pointwise = normal(3, IMAGES, 1, 1, 9000), normal(4, 1, 1, 9000, FILTERS)
    depthwise = np.ones((1, 1, 9000, 1), np.float32)
    check(kseg_ops.numpy.atrous_separable_conv2d(x, depthwise, pointwise), x, pointwise)


def test_pyramid_pooling(target):
    x, filters, pooling = normal(5, IMAGES, 1, 1, 9000), normal(6, 1, 1, 9000, FILTERS), normal(7, 1, 1, 9000, FILTERS)
    nothing = np.zeros_like(filters)
    depthwise = np.ones((1, 1, 9000, 1), np.float32)
    for branch, pooled, matrix in (
        (AsppBranch(filters, activation="linear"), nothing, filters),
        (
            AsppBranch(filters, activation="linear", depthwise=depthwise, depthwise_activation="linear"),
            nothing,
            filters,
        ),
        (AsppBranch(nothing, activation="linear"), pooling, pooling),
    ):
        # A projection that adds the branch to what was pooled: of one of them nothing but zeros.
        projection = AsppBranch(np.concatenate([identity(), identity()], 2), activation="linear")
        result = kseg_ops.aspp(x, [branch], projection, AsppBranch(pooled, activation="linear"))
        check(result.numpy(), x, matrix)
