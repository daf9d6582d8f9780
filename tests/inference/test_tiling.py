from __future__ import annotations

import itertools

import numpy as np
import pytest

from kseg.inference.tiling import plan_axis

CASES = [
    {"length": length, "tile": tile, "overlap": overlap, "stride": stride, "radius": radius}
    for length, tile, overlap, stride, radius in itertools.product(
        (1, 7, 64, 100, 1000, 1003), (64, 96), (0, 3, 16), (1, 4, 16), (None, 0, 3, 16)
    )
]


@pytest.mark.parametrize("stride", [1, 4, 16])
def test_weights_sum_to_one_at_every_pixel(stride):
    for case in (c for c in CASES if c["stride"] == stride):
        tiles = plan_axis(**case)
        total = np.zeros(case["length"])
        for start, weight in zip(tiles.starts, tiles.weights(), strict=True):
            assert weight.min() >= 0
            total[start : start + tiles.tile_out] += weight
        # Two to three float32 weights are added, each rounded to half an epsilon.
        np.testing.assert_allclose(total, 1.0, atol=3 * np.finfo(np.float32).eps, err_msg=str(case))


@pytest.mark.parametrize("stride", [1, 4, 16])
def test_tiles_keep_the_pooling_grid_and_the_overlap(stride):
    for case in (c for c in CASES if c["stride"] == stride):
        tiles = plan_axis(**case)
        ends = [start + tiles.tile_out for start in tiles.starts]
        assert (tiles.starts[0], ends[-1]) == (0, case["length"]), case
        assert all(start % stride == 0 for start in tiles.starts), case
        assert tiles.tile_in % stride == case["length"] % stride, "the model pads a tile unlike the image"
        assert tiles.tile_in <= max(case["tile"], 1)
        for end, following in zip(ends[:-1], tiles.starts[1:], strict=True):
            assert end - following >= 2 * case["overlap"], case


@pytest.mark.parametrize("overlap", [5, 9])
def test_pixels_within_the_radius_of_an_inner_edge_get_no_weight_and_those_at_the_border_do(overlap):
    tiles = plan_axis(200, 64, overlap, stride=4, radius=5)
    weights = tiles.weights()
    assert tiles.exact
    assert len(tiles) > 3
    for index, weight in enumerate(weights):
        first, last = (index == 0), (index == len(weights) - 1)
        assert np.all(weight[:5] == (1.0 if first else 0.0))
        assert np.all(weight[-5:] == (1.0 if last else 0.0))
        assert weight[6] > 0
        assert weight[-7] > 0


def test_blending_is_smooth_and_monotonic():
    tiles = plan_axis(80, 48, 8, stride=1, radius=None)
    rising = tiles.weights()[1][:16]
    assert np.all(np.diff(rising) > 0)
    assert rising[0] < 0.01
    assert rising[-1] > 0.99
    np.testing.assert_allclose(rising + tiles.weights()[0][-16:], 1.0, atol=1e-6)


@pytest.mark.parametrize(
    ("radius", "overlap", "exact"),
    [(5, 5, True), (5, 4, False), (0, 0, True), (None, 20, False)],
)
def test_exactness_is_promised_from_the_radius_on(radius, overlap, exact):
    assert plan_axis(200, 64, overlap, stride=4, radius=radius).exact is exact


def test_one_tile_is_exact_whatever_the_model():
    tiles = plan_axis(50, 64, 30, stride=4, radius=None)
    assert len(tiles) == 1
    assert tiles.exact
    assert tiles.tile_in == 50


def test_default_overlap_is_the_radius_where_it_fits():
    assert plan_axis(1000, 256, None, stride=16, radius=92).discard == 92
    assert plan_axis(1000, 256, None, stride=16, radius=92).exact
    assert not plan_axis(1000, 256, None, stride=16, radius=120).exact
    unknown = plan_axis(1000, 256, None, stride=16)
    assert unknown.starts[0] + unknown.tile_out - unknown.starts[1] >= 2 * (unknown.tile_out // 4)


@pytest.mark.parametrize("tile", [33, 40, 63, 64, 65])
def test_default_overlap_always_leaves_a_step(tile):
    assert len(plan_axis(1000, tile + 31, None, stride=32)) > 1


def test_valid_padding_covers_the_image_with_sizes_that_the_model_takes():
    # The published U-Net: 572 -> 388, sizes congruent to 12 modulo 16.
    whole = plan_axis(388, None, 0, stride=16, margin=92, residue=12)
    assert (whole.tile_in, whole.tile_out, whole.window(0)) == (572, 388, (-92, 480))
    tiles = plan_axis(1000, 580, 0, stride=16, margin=92, residue=12)
    assert tiles.tile_in == 572
    assert tiles.starts[-1] + tiles.tile_out >= 1000
    assert all(start % 16 == 0 for start in tiles.starts)


def test_fixed_size_reaches_past_the_image_into_its_mirror():
    tiles = plan_axis(100, None, 4, stride=8, fixed=64)
    assert tiles.tile_in == 64
    assert tiles.starts[-1] + 64 >= 100
    assert plan_axis(30, None, 4, stride=8, fixed=64).window(0) == (0, 64)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"tile": 32, "overlap": 16},
            r"tile height 32 is too small for overlap=16 .* stride 4\. Use a tile of at least 40",
        ),
        ({"tile": 2, "overlap": 0}, "tile height 2 is too small"),
        ({"tile": 150, "overlap": 0, "margin": 92, "residue": 0}, "the 92 pixels a side that valid padding takes"),
        ({"tile": None, "overlap": 16, "fixed": 32}, "tile height 32 is too small for overlap=16 .* Lower overlap"),
    ],
)
def test_a_tile_too_small_for_its_overlap_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        plan_axis(1000, stride=4, **options)


def test_the_tile_that_the_message_names_is_large_enough():
    assert len(plan_axis(1000, 40, 16, stride=4)) > 1
