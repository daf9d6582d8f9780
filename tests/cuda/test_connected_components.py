"""The CUDA kernels of connected_components, run on the CPU, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cuda.device import HarnessError
from benchmarks.cuda.ops.connected_components import cases
from tests.helpers.cuda_cases import check_case


@pytest.mark.parametrize("case", cases(seed=1), ids=lambda case: case.name)
def test_kernel_equals_reference(device, case):
    check_case(device, case)


def test_arguments_are_checked(device):
    masks, labels = np.zeros((2, 3, 4), np.uint8), np.zeros((2, 3, 4), np.int32)
    with pytest.raises(HarnessError, match="connectivity must be 4 or 8, got 6"):
        device.run("connected_components", [masks], [labels, labels[:, 0, 0]], [6])
    with pytest.raises(HarnessError, match="labels must have the shape of masks"):
        device.run("connected_components", [masks], [labels[:, 1:], labels[:, 0, 0]], [8])
