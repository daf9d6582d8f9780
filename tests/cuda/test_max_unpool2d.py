"""The CUDA kernels of max_unpool2d, run on the CPU, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cuda.device import HarnessError
from benchmarks.cuda.ops.max_unpool2d import cases
from tests.helpers.cuda_cases import VARIATIONS, check_case


@pytest.mark.parametrize("case", cases(seed=1), ids=lambda case: case.name)
def test_kernel_equals_reference(device, case):
    check_case(device, case)


@pytest.mark.parametrize("variation", VARIATIONS, ids=str)
@pytest.mark.parametrize("outer", [(4, 6), (40, 60)], ids=str)
def test_indices_outside_are_lost(device, outer, variation):
    """The larger output's cells are too large to be gone through: the other of the two ways."""
    generator = np.random.default_rng(5)
    values = generator.uniform(1, 2, (2, 2, 3, 4)).astype(np.float32)
    gradient = generator.uniform(1, 2, (2, *outer, 4)).astype(np.float32)
    pixels = outer[0] * outer[1]
    indices = np.zeros(values.shape, np.int32)
    indices[0] = generator.choice([-1, pixels, -(1 << 31), (1 << 31) - 1], values.shape[1:])
    indices[1] = generator.permutation(pixels)[:24].reshape(values.shape[1:])
    device.vary(**variation)
    (unpooled,) = device.run("max_unpool2d", [values, indices], [gradient])
    assert not unpooled[0].any()
    np.testing.assert_array_equal(np.sort(unpooled[1][unpooled[1] != 0]), np.sort(values[1], axis=None))
    (back,) = device.run("max_unpool2d_grad", [gradient, indices], [values])
    assert not back[0].any()
    channel = np.arange(4)
    np.testing.assert_array_equal(back[1], gradient[1].reshape(-1, 4)[indices[1], channel])


def test_many_bands(device):
    """More places than a block of the second kernel has room for."""
    generator = np.random.default_rng(6)
    values = generator.uniform(1, 2, (1, 6, 30, 70)).astype(np.float32)
    indices = generator.integers(0, 13 * 59, values.shape).astype(np.int32)
    expected = np.zeros((1, 13, 59, 70), np.float32)
    flat = expected.reshape(-1, 70)
    for y, x in np.ndindex(6, 30):
        flat[indices[0, y, x], np.arange(70)] = values[0, y, x]
    (got,) = device.run("max_unpool2d", [values, indices], [expected])
    np.testing.assert_array_equal(got, expected)


def test_shapes_are_checked(device):
    values = np.zeros((1, 2, 2, 3), np.float32)
    with pytest.raises(HarnessError, match=r"indices must have the shape of the values, \[1, 2, 2, 3\], got \[1, 2, 2"):
        device.run("max_unpool2d", [values, np.zeros((1, 2, 2, 4), np.int32)], [values])
    with pytest.raises(HarnessError, match=r"x_gradient must have as many images and channels as indices of shape"):
        device.run("max_unpool2d_grad", [values[..., :2], np.zeros((1, 2, 2, 3), np.int32)], [values])
