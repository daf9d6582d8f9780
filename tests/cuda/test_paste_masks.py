"""The CUDA kernels of paste_masks, run on the CPU, against the reference: every pixel."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cuda.device import HarnessError
from benchmarks.cuda.ops.paste_masks import cases
from tests.helpers.cuda_cases import check_case


@pytest.mark.parametrize("case", cases(seed=1), ids=lambda case: case.name)
def test_kernel_equals_reference(device, case):
    check_case(device, case)


def test_shapes_are_checked(device):
    masks, boxes = np.zeros((2, 4, 4), np.float32), np.zeros((2, 4), np.float32)
    with pytest.raises(HarnessError, match=r"boxes must have shape \[2, 4\] for masks of shape \[2, 4, 4\]"):
        device.run("paste_masks", [masks, boxes[:1]], [np.zeros((2, 5, 6), np.uint8)], [0, 0.5, 5, 6, 0])
    with pytest.raises(HarnessError, match=r"the result must have shape \[2, 5, 1\], got \[2, 5, 6\]"):
        device.run("paste_masks", [masks, boxes], [np.zeros((2, 5, 6), np.uint8)], [0, 0.5, 5, 6, 1])
