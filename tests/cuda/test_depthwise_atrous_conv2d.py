"""The CUDA kernels of depthwise_atrous_conv2d, run on the CPU, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cuda.device import HarnessError
from benchmarks.cuda.ops.depthwise_atrous_conv2d import cases
from tests.helpers.cuda_cases import check_case


@pytest.mark.parametrize("case", cases(seed=1), ids=lambda case: case.name)
def test_kernel_equals_reference(device, case):
    check_case(device, case)


@pytest.mark.parametrize("channels", [4, 3])
def test_taps_in_the_padding_add_nothing(device, channels):
    """Not even where the filter or what it would meet is infinite."""
    x = np.ones((1, 4, 5, channels), np.float32)
    filters = np.zeros((3, 3, channels, 1), np.float32)
    filters[1, 1] = 2
    filters[0, 1] = np.inf  # meets rows 0 and 1 of x only
    (got,) = device.run("depthwise_atrous_conv2d", [x, filters], [x], [2, 1, True])
    np.testing.assert_array_equal(got[0, :2], 2)
    assert np.isinf(got[0, 2:]).all()
    x[0, 3] = np.inf
    gradient = np.ones_like(x)
    (got,) = device.run("depthwise_atrous_conv2d_filter_grad", [x, gradient], [filters], [2, 1, True])
    np.testing.assert_array_equal(got[0, 1, :, 0], 2 * 5)  # rows 0 and 1
    assert np.isinf(got[1:, 1]).all()


def test_shapes_are_checked(device):
    x, filters = np.zeros((1, 4, 4, 2), np.float32), np.zeros((3, 3, 2, 1), np.float32)
    with pytest.raises(HarnessError, match=r"filters must have shape \[kh, kw, C, m\] with C = 2 as x has, got \[3, 3"):
        device.run("depthwise_atrous_conv2d", [x, filters[:, :, :1]], [x], [1, 1, True])
    with pytest.raises(HarnessError, match=r"must have the shape of the output, \[1, 4, 4, 2\], got \[1, 4, 4, 1\]"):
        device.run("depthwise_atrous_conv2d_filter_grad", [x, x[..., :1]], [filters], [1, 1, True])
