"""The CUDA kernels of resize_argmax, run on the CPU, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cuda.device import HarnessError
from benchmarks.cuda.ops.resize_argmax import cases
from tests.helpers.cuda_cases import check_case


@pytest.mark.parametrize("case", cases(seed=1), ids=lambda case: case.name)
def test_kernel_equals_reference(device, case):
    check_case(device, case)


def test_lowest_of_equal_classes_wins(device):
    logits = np.ones((1, 3, 3, 5), np.float32)
    logits[..., 0] = -1
    (classes,) = device.run("resize_argmax", [logits], [np.zeros((1, 12, 12), np.int32)], [0])
    np.testing.assert_array_equal(classes, 1)


def test_shapes_are_checked(device):
    with pytest.raises(HarnessError, match="size must be at least 1 x 1, got 0 x 4"):
        device.run("resize_argmax", [np.zeros((1, 2, 2, 3), np.float32)], [np.zeros((1, 0, 4), np.int32)], [0])
    with pytest.raises(HarnessError, match="classes must have the batch size of logits, 1, got 2"):
        device.run("resize_argmax", [np.zeros((1, 2, 2, 3), np.float32)], [np.zeros((2, 4, 4), np.int32)], [0])
