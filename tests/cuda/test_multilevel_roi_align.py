"""The CUDA kernels of multilevel_roi_align, run on the CPU, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cuda.device import HarnessError
from benchmarks.cuda.ops.multilevel_roi_align import cases
from tests.helpers.cuda_cases import check_case


@pytest.mark.parametrize("case", cases(seed=1), ids=lambda case: case.name)
def test_kernel_equals_reference(device, case):
    check_case(device, case)


def test_shapes_are_checked(device):
    boxes, pooled = np.zeros((2, 3, 4), np.float32), np.zeros((2, 3, 1, 1, 5), np.float32)
    levels = [np.zeros((2, 8, 8, 5), np.float32), np.zeros((2, 4, 4, 4), np.float32)]
    with pytest.raises(HarnessError, match=r"features\[1\] must have 5 channels, got shape \[2, 4, 4, 4\]"):
        device.run("multilevel_roi_align", [boxes, *levels], [pooled], [2, 1, 0.25, 0.125, 100.0])
    with pytest.raises(HarnessError, match="level_areas must have one entry fewer than there are levels, 1, got 0"):
        device.run("multilevel_roi_align", [boxes, *levels], [pooled], [2, 1, 0.25, 0.125])
