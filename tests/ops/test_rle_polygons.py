"""kseg_ops.rle.from_polygons rasterises as COCO does, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from kseg_ops import rle

coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is the oracle")

pytestmark = pytest.mark.usefixtures("rle_form")


def cases():
    """Polygons of all kinds: any corners, whole and half pixels, repeated corners, far outside, tiny, long and thin."""
    random = np.random.default_rng(0)
    for index in range(420):
        size = tuple(int(side) for side in random.integers(1, 60, 2))
        corners = random.uniform(-30, 90, (random.integers(3, 10), 2))
        kind = index % 7
        if kind == 1:
            corners = np.round(corners)
        elif kind == 2:
            corners = np.round(2 * corners) / 2
        elif kind == 3:
            corners = np.repeat(corners, random.integers(1, 4, len(corners)), axis=0)
        elif kind == 4:
            corners *= 1000
        elif kind == 5:
            corners = random.uniform(0, 60) + 0.2 * corners / 60
        elif kind == 6:
            corners = corners * random.choice([1e-3, 1, 100], 2) + random.uniform(0, 30, 2)
        yield corners.ravel().tolist(), size


def test_one_polygon():
    for polygon, size in cases():
        assert rle.from_polygons([polygon], size) == coco.frPyObjects([polygon], *size)[0], (polygon, size)


def test_several_polygons_are_one_mask():
    polygons = [polygon for polygon, _ in cases()]
    for first in range(0, 60, 3):
        given = polygons[first : first + 3]
        assert rle.from_polygons(given, (50, 47)) == coco.merge(coco.frPyObjects(given, 50, 47))


def test_worked_out_by_hand():
    # Column x lies inside from x = 1 to 3, row y from 1 to 4: edges through corners of pixels cover exactly these.
    square = [1, 1, 3, 1, 3, 4, 1, 4]
    expected = np.zeros((5, 4), np.uint8)
    expected[1:4, 1:3] = 1
    np.testing.assert_array_equal(rle.decode(rle.from_polygons([square], (5, 4))), expected)
    # The other way round, with the first corner once more, and as arrays of other types.
    same = rle.encode(expected)
    assert rle.from_polygons([square[::-1][1:] + square[::-1][:1]], (5, 4)) != same  # x and y exchanged: not the same
    assert rle.from_polygons([[1, 4, 3, 4, 3, 1, 1, 1]], (5, 4)) == same
    assert rle.from_polygons([square + square[:2]], (5, 4)) == same
    assert rle.from_polygons(np.array([square], np.float32), (5, 4)) == same
    assert rle.from_polygons((tuple(square),), [5, 4]) == same
    # Twice the same polygon is once the same mask: a union, not an exclusive or.
    assert rle.from_polygons([square, square], (5, 4)) == same


def test_a_spike_covers_nothing():
    for polygon in ([3, 3] * 3, [0, 0, 9, 9, 0, 0], [2, 2, 7, 2, 4, 2]):
        assert rle.area(rle.from_polygons([polygon], (10, 10))) == 0


def test_an_edge_of_a_hundred_million_steps():
    """COCO would store each of them; the crossings alone are found in no time."""
    far = 6e7
    whole = rle.from_polygons([[-far, -far, far, -far, far, far, -far, far]], (4, 6))
    assert rle.area(whole) == 24
    # A line from far above on the left to far below on the right, through the middle of the image; closed far away.
    half = rle.decode(rle.from_polygons([[-far, -far, far, far, -far, far]], (6, 6)))
    np.testing.assert_array_equal(half, np.tri(6, dtype=np.uint8))


def test_wide_images_of_one_row():
    wide = 2**31 - 1
    stripe = rle.from_polygons([[5, -1, 1005, -1, 1005, 2, 5, 2]], (1, wide))
    assert rle.to_counts(stripe) == [5, 1000, wide - 1005]
    zigzag = np.stack([np.tile([-1e6, 6e7], 8), np.arange(16)], 1).ravel()
    with pytest.raises(ValueError, match=r"polygons\[0\] must cross at most 134217728 columns of pixels in all, got"):
        rle.from_polygons([zigzag], (1, wide))
