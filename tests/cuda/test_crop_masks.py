"""The CUDA kernels of crop_masks, run on the CPU, against the reference."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from benchmarks.cuda.device import HarnessError
from benchmarks.cuda.ops.crop_masks import HEIGHT, WIDTH, cases, dense, make_polygons, run_lengths, runs
from kseg_ops.reference import rle
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


def rasterised(device, coordinates, polygon_splits, mask_splits, image_size, indices):
    """Masks by a crop of the whole image with a sample in the middle of each pixel."""
    height, width = image_size
    boxes = np.tile(np.array([[0, 0, width, height]], np.float32), (len(indices), 1))
    given = [coordinates, polygon_splits, mask_splits, boxes, np.array(indices, np.int32)]
    crops = [np.zeros((len(indices), height, width), np.float32)]
    return device.run("crop_polygon_masks", given, crops, [1, True, height, width])[0]


@pytest.mark.parametrize("seed", range(3))
def test_polygons_are_rasterised_to_the_bit(device, seed):
    generator = np.random.default_rng(seed)
    coordinates, polygon_splits, mask_splits = make_polygons(generator, 25)
    # Edges over millions of pixels, whose steps are where rounding shows.
    coordinates = np.where(generator.uniform(size=len(coordinates)) < 0.03, coordinates * 1e4, coordinates)
    got = rasterised(device, coordinates, polygon_splits, mask_splits, (HEIGHT, WIDTH), range(25))
    image_size = np.array([[HEIGHT, WIDTH]])
    for mask, (begin, end) in enumerate(itertools.pairwise(mask_splits)):
        polygons = np.split(coordinates, polygon_splits)[1:-1][begin:end]
        (expected,) = rle.rle_decode(rle.rle_from_polygons(polygons, (HEIGHT, WIDTH)), image_size, False)
        np.testing.assert_array_equal(got[mask], expected)


def test_polygons_that_do_not_fit_stay_in_memory(device):
    square = np.array([1, 1, 4, 1, 4, 4, 1, 4], np.float64)
    for polygon_splits in ([0, 1 << 40, -5], [-9, -9, -9], [8, 0, 8], [0, 7, 99]):
        for mask_splits in ([0, 2], [-1, 1 << 50], [2, 0]):
            splits = [np.array(values, np.int64) for values in (polygon_splits, mask_splits)]
            got = rasterised(device, square, *splits, (6, 5), [0, 1, -1, 1 << 30])
            assert not got[1:].any()
            assert set(np.unique(got)) <= {0, 1}
    # Coordinates beyond the range are cut: this covers everything. What is not a number is far to the left.
    splits = np.array([0, 8], np.int64), np.array([0, 1], np.int64)
    wide = np.array([-np.inf, -1e300, np.inf, -1e300, np.inf, 1e300, -np.inf, 1e300])
    assert rasterised(device, wide, *splits, (6, 5), [0]).all()
    wide[0] = np.nan
    assert rasterised(device, wide, *splits, (6, 5), [0]).all()


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
    polygons = [np.zeros(6), np.array([0, 6], np.int64), np.array([0, 1], np.int64), boxes, indices]
    with pytest.raises(HarnessError, match=r"image_size must have fewer than 2\*\*31 pixels for polygons"):
        device.run("crop_polygon_masks", polygons, crops, [0, 0, 1 << 20, 1 << 20])
    with pytest.raises(HarnessError, match="mask_splits must run from 0 to the number of values, 1"):
        device.run("crop_polygon_masks", [*polygons[:2], polygons[1][:0], *polygons[3:]], crops, [0, 0, 6, 5])
    with pytest.raises(HarnessError, match=r"sampling_ratio must be in 0..128, got 129"):
        device.run("crop_dense_masks", [np.zeros((1, 6, 5), np.uint8), boxes, indices], crops, [129, 0, 6, 5, 0])
