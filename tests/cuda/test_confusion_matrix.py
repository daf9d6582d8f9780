"""The CUDA kernels of confusion_matrix, run on the CPU, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cuda.device import HarnessError
from benchmarks.cuda.ops.confusion_matrix import cases
from tests.helpers.cuda_cases import check_case


@pytest.mark.parametrize("case", cases(seed=1), ids=lambda case: case.name)
def test_kernel_equals_reference(device, case):
    check_case(device, case)


@pytest.mark.parametrize("classes", [4, 200])
def test_values_out_of_range_are_not_counted(device, classes):
    labels = np.array([0, 1, -1, classes, 1 << 40, 2, 2, 2], np.int64)
    predictions = np.array([0, 1, 1, 1, 1, -1, classes, -(1 << 40)], np.int64)
    (counts,) = device.run("confusion_matrix", [labels, predictions], [np.zeros((classes, classes), np.int64)], [0, 0])
    expected = np.zeros((classes, classes), np.int64)
    expected[0, 0] = expected[1, 1] = 1
    np.testing.assert_array_equal(counts, expected)


def test_arguments_are_checked(device):
    labels, logits = np.zeros(3, np.int32), np.zeros((3, 5), np.float32)
    with pytest.raises(HarnessError, match="the last axis of logits must be num_classes=4, got 5"):
        device.run("confusion_matrix", [labels, logits], [np.zeros((4, 4), np.int64)], [0, 0])
    with pytest.raises(HarnessError, match=r"num_classes must be in 1..16384, got 0"):
        device.run("confusion_matrix", [labels, labels], [np.zeros((0, 0), np.int64)], [0, 0])
    with pytest.raises(HarnessError, match="labels must be of an integer type"):
        device.run("confusion_matrix", [logits[:, 0].copy(), labels], [np.zeros((4, 4), np.int64)], [0, 0])
