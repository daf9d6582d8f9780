"""The CUDA kernels of roi_align, run on the CPU, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cuda.device import HarnessError
from benchmarks.cuda.ops.roi_align import cases
from tests.helpers.cuda_cases import check_case


@pytest.mark.parametrize("case", cases(seed=1), ids=lambda case: case.name)
def test_kernel_equals_reference(device, case):
    check_case(device, case)


def test_box_of_no_image_gives_zeros(device):
    case = next(case for case in cases(seed=2) if case.launcher == "roi_align")
    features, boxes, indices = case.inputs
    stray = indices.copy()
    stray[[1, 4, 9]] = [-1, 2, 1 << 30]
    (pooled,) = device.run("roi_align", [features, boxes, stray], case.outputs, case.numbers)
    (expected,) = case.run(device)
    expected[[1, 4, 9]] = 0
    np.testing.assert_array_equal(pooled, expected)


def test_shapes_are_checked(device):
    features, boxes, indices = np.zeros((1, 4, 4, 2), np.float32), np.zeros((3, 4), np.float32), np.zeros(3, np.int32)
    with pytest.raises(HarnessError, match=r"output must have shape \[K, h, w, C\] with K = 3 and C = 2"):
        device.run("roi_align", [features, boxes, indices], [np.zeros((3, 1, 1, 5), np.float32)], [1, 2, 1])
    with pytest.raises(HarnessError, match=r"boxes must have shape \[K, 4\], got \[3, 5\]"):
        device.run(
            "roi_align",
            [features, np.zeros((3, 5), np.float32), indices],
            [np.zeros((3, 1, 1, 2), np.float32)],
            [1, 2, 1],
        )
