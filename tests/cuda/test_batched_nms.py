"""The CUDA kernels of batched_nms, run on the CPU, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cuda.device import HarnessError
from benchmarks.cuda.ops.batched_nms import cases
from tests.helpers.cuda_cases import check_case


@pytest.mark.parametrize("case", cases(seed=1), ids=lambda case: case.name)
def test_kernel_equals_reference(device, case):
    check_case(device, case)


def test_arguments_are_checked(device):
    case = cases(seed=2)[0]
    boxes, scores, ids = case.inputs
    with pytest.raises(HarnessError, match="scores must have the images and rows of boxes, 2 and 90, got 2 and 80"):
        device.run("batched_nms", [boxes, np.ascontiguousarray(scores[:, :80]), ids], case.outputs, case.numbers)
    with pytest.raises(HarnessError, match=r"sigma must be in 1e-6..1e6, got 0"):
        device.run("batched_nms", case.inputs, case.outputs, [*case.numbers[:5], 0, *case.numbers[6:]])
