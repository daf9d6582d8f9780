"""The CUDA kernels of atrous_conv2d, run on the CPU, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cuda.case import FLOATS
from benchmarks.cuda.device import HarnessError, convert, to_float
from benchmarks.cuda.ops.atrous_conv2d import cases
from tests.helpers.cuda_cases import check_case

NONE = np.zeros(0, np.float32)


@pytest.mark.parametrize("case", cases(seed=1), ids=lambda case: case.name)
def test_kernel_equals_reference(device, case):
    check_case(device, case)


@pytest.mark.parametrize("dtype", FLOATS)
def test_what_is_not_finite_reaches_the_pixels_that_read_it(device, dtype):
    x = np.ones((1, 6, 4, 8), np.float32)
    x[0, 0, 1, 2], x[0, 5, 3, 1] = np.inf, np.nan
    filters = np.ones((3, 1, 8, 8), np.float32)
    arrays = [convert(array, dtype) for array in (x, filters)]
    (got,) = device.run("atrous_conv2d", [*arrays, NONE, NONE], [arrays[0]], [2, 1, True, 0])
    got = to_float(got)[0]
    assert np.isposinf(got[[0, 2], 1]).all()
    assert np.isnan(got[[3, 5], 3]).all()
    assert np.isfinite(got).sum() == got.size - 4 * 8


def test_shapes_are_checked(device):
    x, filters = np.zeros((1, 4, 4, 2), np.float32), np.zeros((3, 3, 2, 3), np.float32)
    with pytest.raises(
        HarnessError, match=r"filters must have shape \[kh, kw, C, F\] with the channels of x, C = 2, got"
    ):
        device.run("atrous_conv2d", [x, filters[:, :, :1], NONE, NONE], [x], [1, 1, True, 0])
    with pytest.raises(HarnessError, match=r"the output must have shape \[1, 4, 4, 3\], got \[1, 4, 4, 2\]"):
        device.run("atrous_conv2d", [x, filters, NONE, NONE], [x], [1, 1, True, 0])
    with pytest.raises(HarnessError, match="offset must have one entry per output channel, 3, or none, got 2"):
        device.run("atrous_conv2d", [x, filters, NONE, np.zeros(2, np.float32)], [x], [1, 1, True, 0])
