"""RoIAlign by hand, against a transcription of its definition, and against torchvision's recorded answers."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from tests.helpers.roi_align_cases import (
    EPS,
    gradient_of,
    random_case,
    scalar_roi_align,
    terms,
)
from tests.ops import make_roi_align_golden as golden

# -- by hand -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 1, 2, 3])
def test_a_constant_map_pools_to_its_constant(pool, sampling_ratio, aligned):
    features = np.full((1, 6, 8, 2), 3.5, np.float32)
    pooled = pool(features, [[1, 1, 7, 5]], [0], (3, 2), sampling_ratio=sampling_ratio, aligned=aligned)
    np.testing.assert_allclose(pooled, np.full((1, 3, 2, 2), 3.5), rtol=8 * EPS)


def test_a_ramp_pools_to_the_coordinates_of_the_bin_centres(pool):
    y, x = np.meshgrid(np.arange(8.0), np.arange(10.0), indexing="ij")
    features = np.stack([y, x], -1)[None].astype(np.float32)
    # The box [2, 6) x [1, 5) has bins of size 2, centred on x = 3, 5 and y = 2, 4; pixel i has its centre at i + 0.5.
    pooled = pool(features, [[2, 1, 6, 5]], [0], 2).numpy()
    np.testing.assert_array_equal(pooled[0, :, :, 0], [[1.5, 1.5], [3.5, 3.5]])
    np.testing.assert_array_equal(pooled[0, :, :, 1], [[2.5, 4.5], [2.5, 4.5]])
    # Without alignment pixel i lies at i.
    pooled = pool(features, [[2, 1, 6, 5]], [0], 2, aligned=False).numpy()
    np.testing.assert_array_equal(pooled[0, :, :, 0], [[2, 2], [4, 4]])
    np.testing.assert_array_equal(pooled[0, :, :, 1], [[3, 5], [3, 5]])


def test_a_box_of_one_pixel_reads_that_pixel(pool):
    features = np.arange(20, dtype=np.float32).reshape(1, 4, 5, 1)
    assert pool(features, [[3, 2, 4, 3]], [0], 1, sampling_ratio=1).numpy().item() == features[0, 2, 3, 0]


def test_the_image_is_chosen_by_its_index(pool):
    features = np.stack([np.full((3, 3, 1), value, np.float32) for value in (1, 2, 4)])
    pooled = pool(features, [[0, 0, 3, 3]] * 3, [2, 0, 1], 1)
    np.testing.assert_array_equal(pooled[:, 0, 0, 0], [4, 1, 2])


def test_spatial_scale_maps_image_pixels_to_feature_pixels(pool):
    features, boxes, indices = random_case(0)
    np.testing.assert_array_equal(
        pool(features, boxes * 4, indices, 3, spatial_scale=0.25), pool(features, boxes, indices, 3)
    )


@pytest.mark.parametrize("sampling_ratio", [0, 1, 2])
def test_a_box_outside_the_map_gives_zeros(pool, sampling_ratio):
    features = np.ones((1, 4, 4, 1), np.float32)
    boxes = [[8, 0, 12, 4], [-12, 0, -8, 4], [0, 8, 4, 12], [0, -12, 4, -8]]
    pooled = pool(features, boxes, [0] * 4, 2, sampling_ratio=sampling_ratio)
    np.testing.assert_array_equal(pooled, np.zeros((4, 2, 2, 1)))


def test_samples_within_a_pixel_of_the_map_count_and_others_do_not(pool):
    features = np.ones((1, 4, 4, 1), np.float32)
    # One sample each at x = -1, just outside -1, 4 and just outside 4; y = 2.
    at = np.array([-1, -1.001, 4, 4.001], np.float32)
    boxes = np.stack([at - 0.5, [1.5] * 4, at + 0.5, [2.5] * 4], 1)
    pooled = pool(features, boxes, [0] * 4, 1, sampling_ratio=1, aligned=False)
    np.testing.assert_array_equal(pooled[:, 0, 0, 0], [1, 0, 1, 0])


def test_a_box_half_outside_averages_zeros_in(pool):
    features = np.ones((1, 4, 4, 1), np.float32)
    # Samples at x = -3, -2, -1, 0 (aligned=False, four samples in one bin): two of them count.
    pooled = pool(features, [[-3.5, 1, 0.5, 2]], [0], 1, sampling_ratio=4, aligned=False)
    assert pooled.numpy().item() == 0.5


def test_without_alignment_a_box_is_at_least_one_pixel(pool):
    features = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    small = pool(features, [[1, 1, 1, 1], [2, 2, 1, 1]], [0, 0], 2, aligned=False)
    np.testing.assert_array_equal(small, pool(features, [[1, 1, 2, 2], [2, 2, 3, 3]], [0, 0], 2, aligned=False))


def test_empty_and_inverted_boxes_with_alignment(pool):
    features = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    boxes = [[2, 1, 2, 3], [3, 3, 1, 1]]
    np.testing.assert_array_equal(pool(features, boxes, [0, 0], 2, sampling_ratio=0), np.zeros((2, 2, 2, 1)))
    # A fixed grid is evaluated all the same: of an inverted box it is the grid of the upright one, turned round.
    fixed = pool(features, boxes, [0, 0], 2).numpy()
    upright = pool(features, [[1, 1, 3, 3]], [0], 2).numpy()
    np.testing.assert_allclose(fixed[1], upright[0, ::-1, ::-1], rtol=4 * EPS)
    # The empty one samples x = 1.5 only: y in [0.5, 2.5], bins centred on 1 and 2.
    np.testing.assert_array_equal(fixed[0, :, :, 0], [[5.5, 5.5], [9.5, 9.5]])


# -- against the definition and torchvision ----------------------------------------------------------------------------


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 1, 2, 3, 5])
def test_equals_the_definition(pool, sampling_ratio, aligned):
    for dtype, unit in ((np.float32, EPS), (np.float64, np.finfo(np.float64).eps)):
        features, boxes, indices = random_case(sampling_ratio, dtype=dtype)
        args = ((3, 2), 0.7, sampling_ratio, aligned)
        expected = scalar_roi_align(features, boxes, indices, *args)
        # |features| <= 1 and weights sum to at most 1: what is left is the rounding of as many products and sums,
        # because positions are rounded alike on both sides.
        np.testing.assert_allclose(
            pool(features, boxes, indices, *args), expected, rtol=0, atol=terms(sampling_ratio, features) * unit
        )


@pytest.mark.parametrize("name", golden.SETTINGS)
def test_equals_torchvision(pool, name):
    with np.load(golden.FILE) as recorded:
        arrays, expected, gradient = dict(recorded), recorded[name], recorded[f"{name}_gradient"]
    for key, value in golden.inputs().items():
        np.testing.assert_array_equal(arrays[key], value)
    _check_torchvision(pool, name, arrays, expected, gradient)


def _check_torchvision(pool, name, arrays, expected, gradient):
    size, scale, ratio, aligned = golden.SETTINGS[name]
    keep = golden.valid_boxes(arrays["boxes"], ratio)
    boxes, indices, features = arrays["boxes"][keep], arrays["box_indices"][keep], arrays["features"]
    unit = terms(ratio, features) * EPS
    pooled = pool(features, boxes, indices, size, scale, ratio, aligned)
    # Both sides round every product and sum, of features below 1/2.
    np.testing.assert_allclose(pooled, expected, rtol=0, atol=unit)
    upstream = golden.upstream(expected.shape)
    ours = gradient_of(pool, features, boxes, indices, upstream, size, scale, ratio, aligned)
    # A pixel sums contributions whose absolute values sum to the gradient of the absolute upstream.
    bound = gradient_of(pool, features, boxes, indices, np.abs(upstream), size, scale, ratio, aligned)
    assert np.all(np.abs(ours - gradient) <= 2 * len(boxes) * unit * bound + 1e-30)


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed")
def test_equals_the_torchvision_that_is_installed(pool, tmp_path):
    # In a process of its own: torch and TensorFlow do not always load into one.
    file = tmp_path / "answers.npz"
    subprocess.run([sys.executable, golden.__file__, str(file)], check=True, timeout=300)
    with np.load(file) as made:
        for name in golden.SETTINGS:
            _check_torchvision(pool, name, made, made[name], made[f"{name}_gradient"])
