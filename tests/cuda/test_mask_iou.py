"""The CUDA kernels of mask_iou, run on the CPU, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cuda.device import HarnessError
from benchmarks.cuda.ops.mask_iou import cases
from tests.helpers.cuda_cases import check_case


@pytest.mark.parametrize("case", cases(seed=1), ids=lambda case: case.name)
def test_kernel_equals_reference(device, case):
    check_case(device, case)


def test_arguments_are_checked(device):
    masks, boxes = np.zeros((2, 3, 4), np.uint8), np.zeros((0, 4), np.float32)
    flags, iou = np.zeros(2, np.uint8), np.zeros((2, 2), np.float32)
    with pytest.raises(HarnessError, match=r"b must have ceil\(width / 8\) = 1 bytes per row with width = 4"):
        device.run("mask_iou", [masks[..., :1], masks, flags, boxes, boxes], [iou], [4])
    with pytest.raises(HarnessError, match=r"a must have shape \[2, 4\], one box per mask, or \[0, 4\] for none"):
        device.run("mask_iou", [masks, masks, flags, boxes[:, :3], boxes], [iou], [-1])
    with pytest.raises(HarnessError, match="is_crowd must have one entry per mask of b, 2, got 1"):
        device.run("mask_iou", [masks, masks, flags[:1], boxes, boxes], [iou], [-1])
