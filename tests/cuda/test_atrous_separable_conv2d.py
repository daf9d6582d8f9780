"""The CUDA kernels of atrous_separable_conv2d, run on the CPU, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cuda.case import FLOATS
from benchmarks.cuda.device import HarnessError, convert, to_float
from benchmarks.cuda.ops.atrous_separable_conv2d import cases
from tests.helpers.cuda_cases import check_case

NONE = np.zeros(0, np.float32)


@pytest.mark.parametrize("case", cases(seed=1), ids=lambda case: case.name)
def test_kernel_equals_reference(device, case):
    check_case(device, case)


@pytest.mark.parametrize("dtype", FLOATS)
def test_taps_in_the_padding_add_nothing(device, dtype):
    """Not even where the filter is infinite; and what is not a number reaches the pixels that read it."""
    x = np.ones((1, 4, 5, 8), np.float32)
    x[0, 3, 4, 2] = np.nan  # in rows 1 and 3, columns 3 and 4
    depthwise = np.zeros((3, 3, 8, 1), np.float32)
    depthwise[1, 1] = 1
    depthwise[0, 1] = np.inf  # meets rows 0 and 1 of x, in rows 2 and 3
    pointwise = np.ones((1, 1, 8, 8), np.float32)
    arrays = [convert(array, dtype) for array in (x, depthwise, pointwise)]
    (got,) = device.run("atrous_separable_conv2d", [*arrays, NONE, NONE, NONE, NONE], [arrays[0]], [2, 1, True, 0, 0])
    got = to_float(got)[0]
    np.testing.assert_array_equal(got[:2, :3], 8)
    assert np.isposinf(got[2:, :3]).all()
    assert np.isnan(got[[1, 3], 3:]).all()


def test_shapes_are_checked(device):
    x, depthwise = np.zeros((1, 4, 4, 2), np.float32), np.zeros((3, 3, 2, 1), np.float32)
    pointwise, maps = np.zeros((1, 1, 2, 3), np.float32), [NONE] * 4
    with pytest.raises(
        HarnessError, match=r"pointwise must have shape \[1, 1, C \* m, F\] with C \* m = 2, got \[1, 1"
    ):
        device.run("atrous_separable_conv2d", [x, depthwise, pointwise[:, :, :1], *maps], [x], [1, 1, True, 0, 0])
    with pytest.raises(HarnessError, match=r"the output must have shape \[1, 4, 4, 3\], got \[1, 4, 4, 2\]"):
        device.run("atrous_separable_conv2d", [x, depthwise, pointwise, *maps], [x], [1, 1, True, 0, 0])
    maps[2] = np.zeros(2, np.float32)
    with pytest.raises(HarnessError, match="scale must have one entry per channel, 3, or none, got 2"):
        device.run("atrous_separable_conv2d", [x, depthwise, pointwise, *maps], [x], [1, 1, True, 0, 0])
