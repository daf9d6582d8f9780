"""kseg_ops.rle.boundary: the boundaries that Boundary IoU compares."""

from __future__ import annotations

import numpy as np
import pytest

from kseg_ops import rle

ndimage = pytest.importorskip("scipy.ndimage", reason="scipy is the oracle")
pytestmark = pytest.mark.usefixtures("rle_form")


def eroded_away(mask, ratio):
    """What the authors' code calls a boundary: the mask without what repeated erosion by 3 x 3 pixels leaves of it."""
    times = max(1, round(ratio * np.sqrt(mask.shape[0] ** 2 + mask.shape[1] ** 2)))
    inside = ndimage.binary_erosion(np.pad(mask, 1), np.ones((3, 3)), iterations=times)
    return mask & ~inside[1:-1, 1:-1].astype(bool)


def test_worked_out_by_hand():
    mask = np.zeros((7, 9), np.uint8)
    mask[1:6, 2:] = 1  # five rows, and seven columns up to the image's edge
    expected = mask.copy()
    expected[2:5, 3:8] = 0
    made = rle.boundary(rle.encode(mask), 0.1)  # a tenth of 11.4 is 1
    np.testing.assert_array_equal(rle.decode(made), expected)
    expected[:] = mask
    expected[3, 4:7] = 0
    np.testing.assert_array_equal(rle.decode(rle.boundary(rle.encode(mask), 0.2)), expected)  # 2.28
    assert rle.boundary(rle.encode(mask), 0.3) == rle.encode(mask)  # 3.4: nothing lies so deep


def test_against_scipy():
    random = np.random.default_rng(0)
    checked = set()
    for height, width in [
        (1, 1),
        (1, 90),
        (90, 1),
        (3, 3),
        (64, 40),
        (65, 41),
        (63, 9),
        (128, 130),
        (150, 20),
        (37, 70),
    ]:
        y, x = np.mgrid[:height, :width]
        masks = [
            np.ones((height, width), bool),
            np.zeros((height, width), bool),
            random.random((height, width)) < 0.98,
            np.hypot(y - height / 3, x - width / 2) < max(height, width) / 2,
            (y >= height // 4) & (x < width - width // 5),
        ]
        for mask in masks:
            for ratio in (0, 0.02, 0.06, 0.2):
                expected = eroded_away(mask, ratio)
                checked.add((expected.any(), (mask & ~expected).any()))
                assert rle.boundary(rle.encode(mask), ratio) == rle.encode(expected), (mask.shape, ratio)
    assert (True, True) in checked, "no mask had an inside"


def test_masks_that_take_several_pieces():
    """A low mask has more words than pixels by columns; it is done in pieces of 2**20 words."""
    mask = np.ones((3, 2**20 + 200), np.uint8)
    mask[1, 2**20 - 2] = 0
    expected = mask.copy()
    expected[1, 1:-1] = 0
    expected[1, 2**20 - 3 : 2**20] = [1, 0, 1]
    assert rle.boundary(rle.encode(mask), 0) == rle.encode(expected)


def test_lists_of_different_sizes_and_forms():
    assert rle.boundary([]) == []
    many = [{"size": [3, 4], "counts": [0, 12]}, {"size": [0, 5], "counts": b""}, {"size": [1, 2], "counts": [2]}]
    assert [rle.to_counts(one) for one in rle.boundary(many)] == [[0, 4, 1, 2, 1, 4], [0], [2]]


@pytest.mark.parametrize(
    ("rles", "ratio", "error", "text"),
    [
        ([], -0.1, ValueError, r"dilation_ratio must be a number in 0\.\.1, got -0.1"),
        ([], "wide", TypeError, "dilation_ratio must be a Python number, got 'wide'"),
        (
            [{"size": [2, 2], "counts": [3]}],
            0.1,
            ValueError,
            r"rles\[0\] counts must sum to height \* width = 4, got 3",
        ),
    ],
)
def test_bad_arguments(rles, ratio, error, text):
    with pytest.raises(error, match=text):
        rle.boundary(rles, ratio)
