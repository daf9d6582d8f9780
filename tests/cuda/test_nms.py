"""The CUDA kernels of nms, run on the CPU, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cuda.device import HarnessError
from benchmarks.cuda.ops.nms import SMALL_PLAN, cases
from tests.helpers.cuda_cases import check_case


@pytest.mark.parametrize("case", cases(seed=1), ids=lambda case: case.name)
def test_kernel_equals_reference(device, case):
    check_case(device, case)


def test_chain_of_boxes_that_each_drop_the_next(device):
    count = 400
    left = np.arange(count, dtype=np.float32)
    boxes = np.stack([left, 0 * left, left + 3, 0 * left + 1], 1)
    scores = 1 - left / count
    for plan in ([], SMALL_PLAN):
        kept, found = device.run(
            "nms",
            [boxes, scores, np.zeros(0, np.int32)],
            [np.zeros(count, np.int32), np.zeros(1, np.int32)],
            [0.4, -1, -1, *plan],  # neighbours have an IoU of 1/2, the next but one of 1/5
        )
        np.testing.assert_array_equal(kept, np.append(np.arange(0, count, 2), np.full(count // 2, -1)))
        assert found == [count // 2]


@pytest.mark.parametrize(
    ("boxes", "scores", "places", "numbers", "message"),
    [
        ((3, 5), 3, 3, (0.5, 0, -1), r"boxes must have shape \[N, 4\], got \[3, 5\]"),
        ((3, 4), 2, 3, (0.5, 0, -1), "scores must have one entry per box, got 2 for 3 boxes"),
        ((3, 4), 3, 3, (1.5, 0, -1), r"iou_threshold must be in 0..1, got 1.5"),
        ((3, 4), 3, 3, (0.5, 0, 2), "kept must have 2 places, as many as boxes may be kept, got 3"),
    ],
)
def test_arguments_are_checked(device, boxes, scores, places, numbers, message):
    inputs = [np.zeros(boxes, np.float32), np.zeros(scores, np.float32), np.zeros(0, np.int32)]
    with pytest.raises(HarnessError, match=message):
        device.run("nms", inputs, [np.zeros(places, np.int32), np.zeros(1, np.int32)], numbers)


def test_plan(device):
    def plan(images, candidates):
        return device.run("nms_plan", [], [np.zeros(3, np.int64)], [images, candidates])[0].tolist()

    assert plan(1, 0) == plan(0, 5) == [64, 32, 128]
    assert plan(8, 12000) == [512, 32, 4096]
    # The bits of a round are 256 MB at most, or rounds of 1024.
    assert plan(512, 12000) == [512, 32, 2048]
    assert plan(1 << 20, 2**31 - 1) == [512, 32, 1024]
