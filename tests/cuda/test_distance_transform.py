"""The CUDA kernels of distance_transform, run on the CPU, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cuda.device import HarnessError
from benchmarks.cuda.ops.distance_transform import cases
from tests.helpers.cuda_cases import check_case


@pytest.mark.parametrize("case", cases(seed=1), ids=lambda case: case.name)
def test_kernel_equals_reference(device, case):
    check_case(device, case)


def test_arguments_are_checked(device):
    masks, distances = np.zeros((2, 3, 4), np.uint8), np.zeros((2, 3, 4), np.float32)
    with pytest.raises(HarnessError, match=r"sampling must be in 2\*\*-60..2\*\*60 on both axes, got 0"):
        device.run("distance_transform", [masks], [distances], [0, 1, 0])
    with pytest.raises(HarnessError, match="distances must have the shape of masks"):
        device.run("distance_transform", [masks], [distances[1:]], [1, 1, 0])
