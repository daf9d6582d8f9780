"""The CUDA kernels of paste_masks, run on the CPU, against the reference: every pixel."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from benchmarks.cuda.device import HarnessError
from benchmarks.cuda.ops.paste_masks import cases
from tests.helpers.cuda_cases import check_case


@pytest.mark.parametrize("case", cases(seed=1), ids=lambda case: case.name)
def test_kernel_equals_reference(device, case):
    check_case(device, case)


def paste_runs(device, masks, boxes, size, room, fits=True):
    outputs = [np.zeros(room, np.int32), np.zeros(len(masks) + 1, np.int64)]
    return device.run("paste_masks_rle", [masks, boxes], outputs, [1, 0.5, *size, fits])


def test_runs_cross_columns_and_no_masks(device):
    """Masks of all pixels, of one row, of the left half, of nothing and of the last column."""
    height, width = 4, 70  # more columns than a block takes
    masks = np.ones((5, 2, 2), np.float32)
    boxes = np.array(
        [[-900, -900, 999, 999], [-900, 2, 999, 3], [-900, -900, 35, 999], [-90, -90, -85, -85], [69, -900, 999, 999]],
        np.float32,
    )
    counts, splits = paste_runs(device, masks, boxes, (height, width), 300)
    got = [counts[begin:end].tolist() for begin, end in itertools.pairwise(splits)]
    assert got == [[0, 280], [2, *[1, 3] * 69, 1, 1], [0, 140, 140], [280], [276, 4]]
    assert (counts[splits[-1] :] == -1).all()


def test_runs_without_a_place_are_left_out(device):
    masks, boxes = np.ones((3, 2, 2), np.float32), np.tile(np.array([[1, 1, 2, 2]], np.float32), (3, 1))
    counts, splits = paste_runs(device, masks, boxes, (5, 6), 90)
    assert counts[:10].tolist() == [6, 1, 23, 6, 1, 23, 6, 1, 23, -1]
    for room in (0, 1, 7, 8, 20):
        short, same = paste_runs(device, masks, boxes, (5, 6), room, fits=False)
        assert short.tolist() == counts[:room].tolist()
        np.testing.assert_array_equal(same, splits)
    with pytest.raises(HarnessError, match="counts must have 9 places"):
        paste_runs(device, masks, boxes, (5, 6), 8)


def test_more_masks_than_a_block_has_threads(device):
    count = 300
    masks, boxes = np.ones((count, 1, 1), np.float32), np.tile(np.array([[-99, -99, 99, 99]], np.float32), (count, 1))
    boxes[::3] = np.nan
    counts, splits = paste_runs(device, masks, boxes, (2, 3), 2 * count)
    lengths = np.where(np.arange(count) % 3 == 0, 1, 2)
    np.testing.assert_array_equal(splits, np.concatenate([[0], np.cumsum(lengths)]))
    np.testing.assert_array_equal(counts[: splits[-1]], np.tile([6, 0, 6, 0, 6], count // 3))


def test_shapes_are_checked(device):
    masks, boxes = np.zeros((2, 4, 4), np.float32), np.zeros((2, 4), np.float32)
    with pytest.raises(HarnessError, match=r"boxes must have shape \[2, 4\] for masks of shape \[2, 4, 4\]"):
        device.run("paste_masks", [masks, boxes[:1]], [np.zeros((2, 5, 6), np.uint8)], [0, 0.5, 5, 6, 0])
    with pytest.raises(HarnessError, match=r"the result must have shape \[2, 5, 1\], got \[2, 5, 6\]"):
        device.run("paste_masks", [masks, boxes], [np.zeros((2, 5, 6), np.uint8)], [0, 0.5, 5, 6, 1])
    with pytest.raises(HarnessError, match=r"image_size must give fewer than 2\*\*31 pixels for run lengths"):
        paste_runs(device, masks, boxes, (1 << 16, 1 << 16), 4)
    outputs = [np.zeros(9, np.int32), np.zeros(2, np.int64)]
    with pytest.raises(HarnessError, match="splits must have 3 entries for 2 masks, got 2"):
        device.run("paste_masks_rle", [masks, boxes], outputs, [0, 0.5, 4, 4, 1])
