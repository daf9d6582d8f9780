"""What the tests of ASPP share: random blocks, and the block by its definition in float64."""

from __future__ import annotations

import numpy as np

from kseg_ops import AsppBranch
from tests.helpers.convolution_cases import EPS, activate, defined_convolution


def random_block(seed, channels=5, outputs=(3, 4, 6), rates=(1, (2, 3), 9), separable=(), pooled=3, final=4, **options):
    """Weights of a block: its first branch is 1 x 1, those numbered in `separable` have a depthwise part.

    Weights have variance 1 / fan-in, so that values stay near 1 throughout.
    """
    dtype = options.pop("dtype", np.float32)
    activation = options.pop("activation", "relu")
    generator = np.random.default_rng(seed)
    real = np.float64 if dtype == np.float64 else np.float32

    def kernel(size, inputs, count):
        return (generator.standard_normal((size, size, inputs, count)) / size / np.sqrt(inputs)).astype(dtype)

    def affine(size):
        return generator.uniform(0.5, 1.5, size).astype(real), generator.uniform(-1, 1, size).astype(real)

    branches = []
    for index, (count, rate) in enumerate(zip(outputs, rates, strict=True)):
        if index in separable:
            depthwise = (generator.standard_normal((3, 3, channels, 1)) / 3).astype(dtype)
            between = (depthwise, *affine(channels), activation)
            branches.append(AsppBranch(kernel(1, channels, count), *affine(count), activation, rate, *between))
        else:
            size = 1 if index == 0 else 3
            branches.append(AsppBranch(kernel(size, channels, count), *affine(count), activation, rate))
    pooling = AsppBranch(kernel(1, channels, pooled), *affine(pooled), activation) if pooled else None
    projection = AsppBranch(kernel(1, sum(outputs) + pooled, final), *affine(final), activation)
    return {"branches": branches, "projection": projection, "pooling": pooling}


def random_map(seed, size=(9, 7), channels=5, batch=2, dtype=np.float32):
    """A map of standard normal values."""
    return np.random.default_rng(1000 + seed).standard_normal((batch, *size, channels)).astype(dtype)


def defined_block(x, branches, projection, pooling=None):
    """The block by its definition in float64, and how far float32 rounding can move each output."""
    x = np.asarray(x, np.float64)
    exact = np.zeros_like(x)
    parts = [_convolution(x, exact, branch) for branch in branches]
    if pooling is not None:
        mean = x.mean((1, 2), keepdims=True)
        # Row sums and a sum of them, or any other order: each value is added at most H * W times.
        error = np.abs(x).mean((1, 2), keepdims=True) * EPS * (x.shape[1] * x.shape[2] + 2)
        pooled = _convolution(mean, error, pooling)
        parts.append([np.broadcast_to(part, (*x.shape[:3], part.shape[3])) for part in pooled])
    values, errors = (np.concatenate(part, -1) for part in zip(*parts, strict=True))
    return _convolution(values, errors, projection)


def _convolution(x, error, branch):
    filters = np.asarray(branch.filters, np.float64)
    rate = (branch.rate, branch.rate) if isinstance(branch.rate, int) else branch.rate
    if branch.depthwise is not None:
        diagonal = np.asarray(branch.depthwise, np.float64) * np.eye(x.shape[3])
        x, error = _step(x, error, diagonal, rate, branch.depthwise_scale, branch.depthwise_offset)
        x, rate = activate(x, branch.depthwise_activation), (1, 1)
    x, error = _step(x, error, filters, rate, branch.scale, branch.offset)
    return activate(x, branch.activation), error


def _step(x, error, filters, rate, scale, offset):
    scale = 1.0 if scale is None else np.asarray(scale, np.float64)
    offset = 0.0 if offset is None else np.asarray(offset, np.float64)
    sums = defined_convolution(np.abs(x), np.abs(filters), rate) * np.abs(scale) + np.abs(offset)
    carried = defined_convolution(error, np.abs(filters), rate) * np.abs(scale)
    terms = np.prod(filters.shape[:3]) + 2
    # hard_silu, the steepest of the activations, has slopes of up to 1.5.
    return defined_convolution(x, filters, rate) * scale + offset, 1.5 * (carried + terms * EPS * sums)
