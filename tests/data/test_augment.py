"""Augmentation: in step, exact where it can be, pure."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import tensorflow as tf

from kseg.data import Augment, DataError


def blocks(height=40, width=56, side=8):
    """A mask of blocks 0..4, and the image that equals it."""
    y, x = np.mgrid[:height, :width] // side
    mask = ((y * 3 + x * 2) % 5).astype(np.int32)
    return np.repeat(mask[..., None], 3, -1).astype(np.float32), mask


def seeds(count):
    return [tf.constant([number, 17], tf.int32) for number in range(count)]


def run(augment, image, mask, seed):
    image, mask = augment(image, mask, seed=seed)
    return image.numpy(), mask.numpy()


GEOMETRIES = {
    "rotate": {"rotate": 180},
    "rotate90": {"rotate90": True},
    "scale": {"scale": (0.5, 2.0)},
    "elastic": {"elastic": 3.0, "elastic_grid": 4},
    "flip": {"flip": "both"},
    "crop": {"crop": (24, 20)},
    "all": {"rotate": 45, "scale": 0.3, "elastic": 2.0, "flip": "both", "rotate90": True, "crop": 32},
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_image_and_mask_stay_in_step(name):
    # The image says where each of its pixels lies (its bilinear sample is the source coordinate itself), the mask
    # numbers them. So every pixel of the result tells whether both were taken from the same place.
    y, x = np.mgrid[:40, :56]
    image, mask = np.stack([y, x], axis=-1).astype(np.float32), (y * 56 + x).astype(np.int32)
    changed = 0
    for seed in seeds(6):
        out_image, out_mask = run(Augment(**GEOMETRIES[name], ignore_index=-1, fill=-5.0), image, mask, seed)
        outside = out_mask == -1
        np.testing.assert_array_equal(outside, (out_image == -5).all(axis=-1))
        nearest = np.rint(out_image)
        # float32 coordinates below 56 through a few operations: 2**-18 each; where that decides the rounding, skip.
        certain = ~outside & (np.abs(np.abs(out_image - nearest) - 0.5) > 1e-4).all(axis=-1)
        assert certain.sum() >= 0.99 * (~outside).sum() > 0
        np.testing.assert_array_equal(out_mask[certain], (nearest[..., 0] * 56 + nearest[..., 1])[certain])
        changed += out_mask.shape != mask.shape or (out_mask != mask).any()
    assert changed >= 3  # flips and quarter turns leave one in four alone


@pytest.mark.parametrize("name", GEOMETRIES)
def test_masks_are_never_mixed(name):
    image, mask = blocks()
    mask *= 20  # so that any mixture would be a new number
    for seed in seeds(4):
        assert set(np.unique(run(Augment(**GEOMETRIES[name]), image, mask, seed)[1])) <= {0, 20, 40, 60, 80, 255}


def test_flips_and_turns_are_exact():
    rng = np.random.default_rng(0)
    image, mask = rng.normal(size=(9, 9, 2)).astype(np.float32), rng.integers(0, 5, (9, 9), np.int32)
    dihedral = {}
    for turns, mirrored in itertools.product(range(4), (False, True)):

        def turn(array, turns=turns, mirrored=mirrored):
            return np.rot90(array[:, ::-1] if mirrored else array, turns)

        dihedral[turn(image).tobytes()] = turn(mask)
    found = set()
    for seed in seeds(60):
        out_image, out_mask = run(Augment(flip="both", rotate90=True), image, mask, seed)
        assert out_image.tobytes() in dihedral
        np.testing.assert_array_equal(out_mask, dihedral[out_image.tobytes()])
        found.add(out_image.tobytes())
    assert len(found) == 8


def test_quarter_turns_of_an_even_by_odd_canvas_move_whole_pixels():
    mask = np.arange(1, 5 * 8 + 1, dtype=np.int32).reshape(5, 8)
    turned = 0
    for seed in seeds(12):
        out_image, out_mask = run(Augment(rotate90=True), mask[..., None].astype(np.float32), mask, seed)
        inside = out_mask != 255
        np.testing.assert_array_equal(out_image[..., 0][inside], out_mask[inside])
        # Every label once at most: none is doubled by rounding. A turned 8 x 5 shows all its rows of 5 and 5 of the 8.
        labels = out_mask[inside].tolist()
        assert len(set(labels)) == len(labels)
        assert len(labels) in (40, 25, 20)
        turned += len(labels) < 40
    assert turned > 0


@pytest.mark.parametrize(("flip", "axis"), [("horizontal", 1), ("vertical", 0)])
def test_each_flip_is_its_own_axis(flip, axis):
    image, mask = np.arange(30, dtype=np.float32).reshape(5, 6, 1), np.arange(30, dtype=np.int32).reshape(5, 6)
    flipped = 0
    for seed in seeds(40):
        out_image, out_mask = run(Augment(flip=flip), image, mask, seed)
        np.testing.assert_array_equal(out_image[..., 0], out_mask)
        if (out_mask != mask).any():
            np.testing.assert_array_equal(out_mask, np.flip(mask, axis))
            flipped += 1
    # Binomial(40, 1/2): 20 +- 5 standard deviations of 3.2.
    assert 5 <= flipped <= 35


def test_crop_is_exact_and_reaches_every_corner():
    mask = np.arange(12 * 15, dtype=np.int32).reshape(12, 15)
    image = mask[..., None].astype(np.float32)
    corners = set()
    for seed in seeds(80):
        out_image, out_mask = run(Augment(crop=(10, 13)), image, mask, seed)
        top, left = divmod(int(out_mask[0, 0]), 15)
        np.testing.assert_array_equal(out_mask, mask[top : top + 10, left : left + 13])
        np.testing.assert_array_equal(out_image[..., 0], out_mask)
        corners.add((top, left))
    # 3 x 3 places; one is missed by 80 draws with probability (8/9)**80 = 8e-5.
    assert len(corners) == 9


def test_rotation_and_scale_against_geometry():
    # One bright pixel right of the centre of a 41 x 41 image: rotating by r moves it to (20 + 12 sin, 20 + 12 cos) up
    # to the sense of the angle; scaling by s moves it to 20 + 12 s.
    mask = np.zeros((41, 41), np.int32)
    mask[19:22, 31:34] = 1
    image = mask[..., None].astype(np.float32)
    radii, angles, distances = [], [], []
    for seed in seeds(20):
        y, x = (np.argwhere(run(Augment(rotate=40), image, mask, seed)[1] == 1) - 20).mean(axis=0)
        radii.append(np.hypot(y, x))
        angles.append(np.degrees(np.arctan2(y, x)))
        y, x = (np.argwhere(run(Augment(scale=0.5), image, mask, seed)[1] == 1) - 20).mean(axis=0)
        distances.append(x)
        assert abs(y) < 1
    # Nearest labels of a 3 x 3 blob: its centre of mass is known to about half a pixel, 2.4 degrees at radius 12.
    np.testing.assert_allclose(radii, 12, atol=0.7)
    assert np.abs(angles).max() <= 40 + 3.5
    assert max(angles) > 15
    assert min(angles) < -15
    assert min(distances) >= 8 - 0.7
    assert max(distances) <= 18 + 0.7
    assert max(distances) - min(distances) > 4


def test_outside_is_ignored_and_filled():
    image, mask = np.full((32, 32, 1), 100, np.float32), np.ones((32, 32), np.int32)
    zoomed_out = Augment(scale=(0.5, 0.5), ignore_index=9, fill=42.0, brightness=0.2)
    out_image, out_mask = run(zoomed_out, image, mask, seeds(1)[0])
    outside = out_mask == 9
    # Half the size: a quarter of the area is left.
    assert (~outside).sum() == 16 * 16
    assert (out_image[outside] == 42).all()
    assert not (out_image[~outside] == 42).any()
    mirrored = Augment(scale=(0.5, 0.5), fill="reflect")
    out_image, out_mask = run(mirrored, image, mask, seeds(1)[0])
    assert (out_image == 100).all()
    assert (out_mask == 255).sum() == 32 * 32 - 16 * 16


def test_reflection_mirrors_at_the_edge():
    image = np.arange(8, dtype=np.float32).reshape(1, 8, 1).repeat(8, 0)
    out_image, _ = run(Augment(crop=(8, 16), fill="reflect"), image, np.zeros((8, 8), np.int32), seeds(1)[0])
    np.testing.assert_array_equal(out_image[0, :, 0], [3, 2, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 7, 6, 5, 4])


def test_existing_ignored_pixels_stay_ignored():
    image, mask = blocks()
    mask[:, :10] = 255
    out_mask = run(Augment(flip="both"), image, mask, seeds(1)[0])[1]
    assert (out_mask == 255).sum() == (mask == 255).sum()


def test_pure_function_of_its_seed_in_and_out_of_graphs():
    image, mask = blocks()
    augment = Augment(**GEOMETRIES["all"], brightness=0.2, contrast=0.3, noise=0.1)
    one, other, third = (run(augment, image, mask, seed) for seed in (seeds(2)[0], seeds(2)[0], seeds(2)[1]))
    assert one[0].tobytes() == other[0].tobytes()
    assert one[1].tobytes() == other[1].tobytes()
    assert one[0].tobytes() != third[0].tobytes()
    again = Augment.from_config(json.loads(json.dumps(augment.get_config())))
    assert run(again, image, mask, seeds(1)[0])[0].tobytes() == one[0].tobytes()
    unknown = tf.function(augment, input_signature=[
        tf.TensorSpec([None, None, 3], tf.float32), tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([2], tf.int32)
    ])  # fmt: skip
    graph_image, graph_mask = unknown(image, mask, seeds(1)[0])
    np.testing.assert_array_equal(graph_mask, one[1])
    # Grappler may contract and reorder: a few ulp of 255.
    np.testing.assert_allclose(graph_image, one[0], atol=255 * 2**-20)


def test_switching_one_change_on_leaves_the_others_alone():
    image, mask = blocks(40, 40)
    for seed in seeds(5):
        np.testing.assert_array_equal(
            run(Augment(flip="both"), image, mask, seed)[1],
            run(Augment(flip="both", noise=0.1, contrast=0.1), image, mask, seed)[1],
        )


def test_photometry_is_relative_to_the_range():
    image, mask = np.full((64, 64, 1), 0.5, np.float32), np.zeros((64, 64), np.int32)
    shifts, spreads = [], []
    for seed in seeds(30):
        bright = run(Augment(brightness=0.1, input_range=(0, 1)), image, mask, seed)[0]
        deep = run(Augment(brightness=0.1, input_range=(0, 65535)), image * 65535, mask, seed)[0]
        # Both sums round to float32: an ulp of 65535 is 2**-8 of a level.
        np.testing.assert_allclose(deep, bright * 65535, atol=3 * 2**-8)
        shifts.append(float(bright[0, 0, 0]) - 0.5)
        spreads.append(run(Augment(noise=0.1, input_range=(0, 1)), image, mask, seed)[0].std())
    assert np.abs(shifts).max() <= 0.1 + 1e-6
    assert max(shifts) > 0.05
    assert min(shifts) < -0.05
    # Standard deviation of 4096 draws: 1 % of itself.
    assert max(spreads) <= 0.1 * 1.05
    assert max(spreads) > 0.05
    assert run(Augment(brightness=5.0), image, mask, seeds(1)[0])[0].max() <= 255


def test_contrast_keeps_the_mean():
    image = np.random.default_rng(0).uniform(100, 150, (32, 32, 3)).astype(np.float32)
    ratios = []
    for seed in seeds(20):
        out = run(Augment(contrast=0.4), image, np.zeros((32, 32), np.int32), seed)[0]
        # float32 mean of about 125 over 3072 values, computed twice.
        assert abs(out.mean() - image.mean()) < 1e-3
        ratios.append(out.std() / image.std())
    assert min(ratios) >= 0.6 - 1e-4
    assert max(ratios) <= 1.4 + 1e-4
    assert max(ratios) - min(ratios) > 0.4


def test_nothing_asked_nothing_done():
    image, mask = blocks()
    out_image, out_mask = run(Augment(), image.astype(np.uint8), mask.astype(np.uint8), seeds(1)[0])
    assert out_image.dtype == np.float32
    assert out_mask.dtype == np.int32
    np.testing.assert_array_equal(out_image, image)
    np.testing.assert_array_equal(out_mask, mask)


def test_repr_and_config():
    augment = Augment(flip="both", scale=(0.8, 1.25), crop=64)
    assert repr(augment) == "Augment(flip='both', scale=[0.8, 1.25], crop=[64, 64])"
    assert eval(repr(augment)).get_config() == augment.get_config()


def test_bind_takes_what_was_left_open():
    bound = Augment(rotate=5).bind((0, 65535), 7, (8, 8))
    assert (bound.input_range, bound.ignore_index, bound.crop) == ((0, 65535), 7, (8, 8))
    kept = Augment(input_range=(0, 1), ignore_index=3, crop=4).bind((0, 255), 7)
    assert (kept.input_range, kept.ignore_index, kept.crop) == ((0, 1), 3, (4, 4))
    with pytest.raises(
        DataError, match="ignore_index=None, but rotate, scale and elastic bring in pixels from outside"
    ):
        Augment(elastic=1).bind((0, 255), None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flip": "left"}, "flip must be 'horizontal', 'vertical', 'both' or None, got 'left'"),
        ({"rotate": -5}, "rotate must be a number at least 0, got -5"),
        ({"elastic": "much"}, "elastic must be a number at least 0, got 'much'"),
        ({"elastic_grid": 1}, "elastic_grid must be an integer of at least 2, got 1"),
        ({"contrast": 2}, r"contrast must be a number in 0\.\.1, got 2"),
        ({"scale": (2, 1)}, r"scale must be a number or \(lowest, highest\) with 0 < lowest <= highest, got \(2, 1\)"),
        ({"crop": (0, 4)}, r"crop must be a number of pixels or \(height, width\), each at least 1, got \(0, 4\)"),
        ({"fill": "edge"}, "fill must be a number or 'reflect', got 'edge'"),
    ],
)
def test_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        Augment(**options)


def test_batches_are_refused():
    with pytest.raises(
        ValueError, match=r"takes one image \(H, W, C\) and one mask \(H, W\), got shapes .* map it before batching"
    ):
        Augment()(np.zeros((2, 4, 4, 3)), np.zeros((2, 4, 4), np.int32), seed=[0, 0])
