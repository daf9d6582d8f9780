"""The CUDA kernels of crop_masks, run on the CPU, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cuda.device import HarnessError
from benchmarks.cuda.ops.crop_masks import cases, dense, run_lengths, runs
from tests.helpers.cuda_cases import check_case


@pytest.mark.parametrize("case", cases(seed=1), ids=lambda case: case.name)
def test_kernel_equals_reference(device, case):
    check_case(device, case)


@pytest.mark.parametrize("form", [dense, runs])
def test_box_of_no_mask_gives_zeros(device, form):
    masks = np.ones((2, 6, 5), np.uint8)
    boxes = np.tile(np.array([[0, 0, 5, 6]], np.float32), (4, 1))
    case = form(masks, boxes, np.array([0, 2, -7, 1 << 30], np.int32), (2, 2), 0, False)
    (crops,) = case.run(device)
    np.testing.assert_array_equal(crops[0], 1)
    np.testing.assert_array_equal(crops[1:], 0)


def test_runs_that_do_not_fit_stay_in_memory(device):
    masks = np.ones((3, 6, 5), np.uint8)
    counts, _ = run_lengths(masks)
    boxes, indices = np.tile(np.array([[0, 0, 5, 6]], np.float32), (3, 1)), np.arange(3, dtype=np.int32)
    for splits in ([0, 1 << 40, -5, 1 << 40], [-9, -9, -9, -9], [4, 3, 2, 1]):
        given = [counts, np.array(splits, np.int64), boxes, indices]
        device.run("crop_rle_masks", given, [np.zeros((3, 2, 2), np.float32)], [0, 0, 6, 5])
    # Ones that end early, and a negative count.
    for short in ([10, 5], [10, -5], [1 << 30, 1 << 30]):
        given = [np.array(short, np.int32), np.array([0, 2], np.int64), boxes[:1], indices[:1]]
        (crops,) = device.run("crop_rle_masks", given, [np.zeros((1, 6, 5), np.float32)], [1, 0, 6, 5])
        assert crops.min() >= 0
        assert crops.max() <= 1


def test_arguments_are_checked(device):
    boxes, indices = np.zeros((1, 4), np.float32), np.zeros(1, np.int32)
    crops = [np.zeros((1, 2, 2), np.float32)]
    with pytest.raises(
        HarnessError, match=r"masks must have shape \[M, 6, 1\] for packed masks of image_size \[6, 5\]"
    ):
        device.run("crop_dense_masks", [np.zeros((1, 6, 5), np.uint8), boxes, indices], crops, [0, 0, 6, 5, 1])
    given = [np.zeros(1, np.int32), np.array([0, 1], np.int64), boxes, indices]
    with pytest.raises(HarnessError, match=r"image_size must have fewer than 2\*\*31 pixels for run lengths"):
        device.run("crop_rle_masks", given, crops, [0, 0, 1 << 20, 1 << 20])
    with pytest.raises(HarnessError, match=r"sampling_ratio must be in 0..128, got 129"):
        device.run("crop_dense_masks", [np.zeros((1, 6, 5), np.uint8), boxes, indices], crops, [129, 0, 6, 5, 0])
