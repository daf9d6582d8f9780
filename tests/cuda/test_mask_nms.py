"""The CUDA kernels of mask_nms, run on the CPU, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cuda.device import HarnessError
from benchmarks.cuda.ops.mask_nms import cases
from tests.helpers.cuda_cases import check_case


@pytest.mark.parametrize("case", cases(seed=1), ids=lambda case: case.name)
def test_kernel_equals_reference(device, case):
    check_case(device, case)


def test_arguments_are_checked(device):
    case = cases(seed=2)[0]
    masks, scores, ids, boxes = case.inputs
    short = np.ascontiguousarray(scores[:, :29])
    with pytest.raises(HarnessError, match=r"scores must have one entry per mask, \[2, 30\], got \[2, 29\]"):
        device.run("mask_nms", [masks, short, ids, boxes], case.outputs, case.numbers)
    outputs = [np.zeros((2, 5), np.int32), *case.outputs[1:]]
    with pytest.raises(HarnessError, match=r"the results must have shape \[2, 30\], got \[2, 5\]"):
        device.run("mask_nms", case.inputs, outputs, case.numbers)
