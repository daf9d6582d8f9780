"""Multi-level RoIAlign: which level a box goes to, to the last bit, and torchvision's recorded answers."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from kseg_ops._pyramid import ideal_level, level_areas
from tests.helpers.multilevel_roi_align_cases import EPS, both, by_single_levels, gradients_of, random_case
from tests.ops import make_multilevel_roi_align_golden as golden

# -- the rule ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "level"), [(1, 2), (32, 2), (111.9, 2), (112, 3), (223, 3), (224, 4), (447, 4), (448, 5), (5000, 5)]
)
def test_the_level_of_a_square(side, level):
    assert 2 + np.sum(np.float32(side) ** 2 >= np.array(level_areas((2, 3, 4, 5), 224.0, 4))) == level


@pytest.mark.parametrize("index", range(len(golden.RULES)))
def test_levels_equal_torchvision_around_every_step(index):
    size, level = golden.RULES[index]
    size = float(np.float32(size))
    with np.load(golden.FILE) as recorded:
        levels, sides = recorded[f"levels_{index}"], recorded[f"sides_{index}"]
    areas = golden.areas_around_steps(*golden.RULES[index])
    ours = np.sum(areas[:, None] >= np.array(level_areas(tuple(range(31)), size, level), np.float32), axis=1)
    assert len(set(ours)) > 4
    # torch leaves its square roots to MKL, which does not always round them right. Where it did, the levels are equal;
    # and from its own roots the rule gives its levels everywhere.
    right = sides == np.sqrt(areas)
    assert right.mean() > 0.5
    np.testing.assert_array_equal(ours[right], levels[right])
    np.testing.assert_array_equal([max(ideal_level(side, size, level), 0) for side in sides], levels)


@pytest.mark.parametrize("rule", golden.RULES)
def test_areas_are_where_the_rule_steps(rule):
    """The bisection relies on a rule that only rises: on both sides of each step, over more than its rounding."""
    size, level = float(np.float32(rule[0])), rule[1]
    for step, least in enumerate(level_areas(tuple(range(31)), size, level), 1):
        bits = np.float32(least).view(np.int32) + np.arange(-300, 300, dtype=np.int32)
        sides = np.sqrt(bits.view(np.float32))
        above = np.array([ideal_level(side, size, level) >= step for side in sides])
        np.testing.assert_array_equal(above, np.arange(-300, 300) >= 0)


def test_a_missing_level_is_replaced_by_the_nearest():
    # Ideal levels 2 and 3 of {2, 4}: 3 is halfway and goes to the finer one; of {2, 5}: 3 to 2, and 4 to 5.
    everything = level_areas((2, 3, 4, 5), 224.0, 4)
    assert level_areas((2, 4), 224.0, 4) == everything[1:2]
    assert level_areas((2, 5), 224.0, 4) == everything[1:2]
    assert level_areas((3,), 224.0, 4) == ()
    assert level_areas((2, 3, 5), 224.0, 4) == (everything[0], everything[2])


@both
@pytest.mark.parametrize("levels", [(2, 3, 4, 5), (5, 2, 4), (3, 6)])
def test_boxes_at_the_borders_go_to_their_level(pool, levels):
    """Every level is filled with its number; areas are products by powers of two, hence exact."""
    features = {f"P{level}": np.full((1, 1024 >> level, 1024 >> level, 1), level, np.float32) for level in levels}
    known = sorted(levels)
    boxes, expected = [], []
    for step, least in enumerate(level_areas(tuple(known), 224.0, 4)):
        height = 2.0 ** np.round(np.log2(least) / 2)
        for ulp in range(-12, 13):
            area = (np.float32(least).view(np.int32) + np.int32(ulp)).view(np.float32)
            boxes.append([0, 0, area / np.float32(height), height])
            expected.append(known[step + (ulp >= 0)])
    pooled = pool(features, np.array([boxes], np.float32), 2).numpy()
    # A mean of one number: each of its few weights is rounded.
    np.testing.assert_allclose(pooled, np.array(expected)[None, :, None, None, None] * np.ones((2, 2, 1)), rtol=8 * EPS)


@both
def test_areas_that_are_none(pool):
    features = {"P2": np.full((1, 99, 99, 1), 2.0, np.float32), "P5": np.full((1, 13, 13, 1), 5.0, np.float32)}
    boxes = [
        [0, 0, 0, 0],  # padding
        [10, 10, 10, 300],  # empty
        [300, 10, 10, 390],  # inverted on one axis: the area is negative
        [390, 390, 10, 10],  # inverted on both: positive
        [-1e25, -1e25, 1e25, 1e25],  # infinite area; three samples of four miss the map
        [np.nan, 0, 9, 9],
        [0, 0, 300, np.inf],
        [-np.inf, 0, 9, 9],
    ]
    pooled = pool(features, np.array([boxes], np.float32), 1, sampling_ratio=1).numpy().ravel()
    np.testing.assert_array_equal(pooled, [2, 2, 2, 5, 5, 0, 0, 0])


# -- by the single-level op, and torchvision ---------------------------------------------------------------------------


@both
@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("aligned", [True, False])
def test_equals_roi_align_on_the_chosen_level(pool, sampling_ratio, aligned):
    features, boxes = random_case(0)
    least = np.array(level_areas((2, 3, 5), 224.0, 4), np.float32)

    def choose(box):
        with np.errstate(over="ignore", invalid="ignore"):
            area = (box[2] - box[0]) * (box[3] - box[1])
        return (2, 3, 5)[np.sum(area >= least)]

    expected = by_single_levels(features, boxes, (3, 2), sampling_ratio, aligned, choose)
    # Features are at most 1 and weights sum to 1: rounding of as many terms as a bin has pixels at most.
    terms = 16 if sampling_ratio else 23 * 30
    np.testing.assert_allclose(
        pool(features, boxes, (3, 2), sampling_ratio, aligned), expected, rtol=0, atol=(2 * terms + 8) * EPS
    )


@both
def test_canonical_size_and_level(pool):
    features = {f"P{level}": np.full((1, 64, 64, 1), level, np.float32) for level in (2, 3, 4)}
    boxes = [[[0.0, 0.0, 60.0, 60.0]]]
    for size, level, expected in ((224, 4, 2), (60, 4, 4), (60, 3, 3), (61, 4, 3), (30, 2, 3), (1, 0, 4)):
        pooled = pool(features, boxes, 1, canonical_size=size, canonical_level=level).numpy().item()
        assert pooled == pytest.approx(expected, rel=8 * EPS)


@both
@pytest.mark.parametrize("ratio", golden.SAMPLING_RATIOS)
def test_equals_torchvision(pool, ratio):
    with np.load(golden.FILE) as recorded:
        _check_torchvision(pool, ratio, recorded)


def _check_torchvision(pool, ratio, recorded):
    features = golden.inputs()
    boxes = features.pop("boxes")
    np.testing.assert_array_equal(boxes, recorded["boxes"])
    # Features of at most 1/2; both sides round every product and sum. An adaptive bin has at most 29 x 15 samples here
    # (box of 448 pixels on a level of stride 16 or more, 3 x 2 bins), of four terms each.
    unit = 2 * ((29 * 15 * 4) if ratio == 0 else 16) * EPS
    pooled = pool(features, boxes, golden.OUTPUT_SIZE, ratio, False)
    np.testing.assert_allclose(pooled, recorded[f"pooled_{ratio}"], rtol=0, atol=unit)
    upstream = golden.upstream(recorded[f"pooled_{ratio}"].shape)
    gradients = gradients_of(pool, features, boxes, upstream, golden.OUTPUT_SIZE, ratio, False)
    bounds = gradients_of(pool, features, boxes, np.abs(upstream), golden.OUTPUT_SIZE, ratio, False)
    for name in ("P3", "P4", "P5"):
        assert np.any(gradients[name])
        difference = np.abs(gradients[name] - recorded[f"gradient_{ratio}_{name}"])
        assert np.all(difference <= 2 * boxes.shape[1] * unit * bounds[name] + 1e-30)


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed")
@both
def test_equals_the_torchvision_that_is_installed(pool, tmp_path):
    # In a process of its own: torch and TensorFlow do not always load into one.
    file = tmp_path / "answers.npz"
    subprocess.run([sys.executable, golden.__file__, str(file)], check=True, timeout=300)
    with np.load(file) as made:
        for ratio in golden.SAMPLING_RATIOS:
            _check_torchvision(pool, ratio, made)


@both
def test_images_keep_their_own_boxes(pool):
    features = {"P3": np.stack([np.full((9, 9, 2), value, np.float32) for value in (1, 2, 4)])}
    boxes = tf.tile([[[0.0, 0.0, 40.0, 40.0]]], [3, 2, 1])
    pooled = pool(features, boxes, 1).numpy()
    np.testing.assert_array_equal(pooled[:, :, 0, 0, 0], [[1, 1], [2, 2], [4, 4]])


@both
@pytest.mark.parametrize("sampling_ratio", [1, 2, 3])
def test_a_box_reads_nothing_of_other_levels(pool, sampling_ratio):
    features, boxes = random_case(4, levels=(2, 3, 4, 5))
    boxes[..., 2:] = boxes[..., :2] + np.float32(150)  # all of them go to P3
    expected = pool(features, boxes, (3, 2), sampling_ratio)
    upstream = np.ones(expected.shape, np.float32)
    gradients = gradients_of(pool, features, boxes, upstream, (3, 2), sampling_ratio)
    spoiled = {name: level if name == "P3" else np.full_like(level, np.nan) for name, level in features.items()}
    np.testing.assert_array_equal(pool(spoiled, boxes, (3, 2), sampling_ratio), expected)
    for name, gradient in gradients_of(pool, spoiled, boxes, upstream, (3, 2), sampling_ratio).items():
        assert np.any(gradient) == (name == "P3")
        np.testing.assert_array_equal(gradient, gradients[name])
