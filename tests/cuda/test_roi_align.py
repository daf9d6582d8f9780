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


def shape_of(device, boxes, rows, columns, vectors):
    shape, groups = device.run(
        "roi_align_shape", [], [np.zeros(7, np.int64), np.zeros(2, np.int64)], [boxes, rows, columns, vectors]
    )
    return shape.tolist(), groups.tolist()


def test_forward_geometry(device):
    # A row of 7 bins of 64 vectors in two turns of 224 threads.
    assert shape_of(device, 1000, 7, 7, 64) == ([7000, 1, 1, 224, 1, 1, 0], [1, 7])
    # 28 bins are two groups of 14; a row is never longer than a thread lists.
    assert shape_of(device, 3, 28, 28, 32) == ([3 * 28 * 2, 1, 1, 224, 1, 1, 0], [2, 14])
    # More blocks than a grid has: each takes several.
    shape, _ = shape_of(device, 1 << 32, 14, 14, 1)
    assert shape == [2**31 - 1, 1, 1, 32, 1, 1, 0]
    assert shape_of(device, 0, 7, 7, 64)[0][0] == 0


def test_backward_geometry(device):
    def tiles(*sizes):
        return device.run("roi_align_tiles", [], [np.zeros(2, np.int64)], sizes)[0].tolist()

    assert tiles(2, 200, 304, 256, 4) == [2 * 25 * 38 * 2, 2]
    assert tiles(1, 1, 9, 3, 1) == [2, 1]
    # Of a map of more than 2**31 pixels, by more than 2**31 tiles and slices.
    assert tiles(4, 1 << 20, 1 << 20, 4096, 4) == [4 * (1 << 34) * 32, 32]
