"""Augmentation of objects: boxes, masks and images in step; a pure function of the seed."""

from __future__ import annotations

import numpy as np
import pytest

from kseg.data import InstanceAugment, Instances, instances_from_masks
from tests.data.test_instances import plain_boxes, random_ids


def sample(seed=2, size=(40, 56), count=6):
    ids = random_ids(seed, size, count)
    image = np.repeat((ids * 4 + 20).astype(np.uint8)[..., None], 3, axis=2)
    return image, instances_from_masks(ids, labels=ids)  # the class of object n is n - 1, its colour 4n + 20


def assert_in_step(image, instances, valid):
    """Boxes are those of the masks; nothing lies in the padding; objects have their colour but for a blurred edge."""
    dense = instances.dense()
    np.testing.assert_array_equal(instances.boxes, plain_boxes(dense))
    assert (instances.boxes[:, 2:] > instances.boxes[:, :2]).all()
    assert not dense[:, valid[0] :].any()
    assert not dense[:, :, valid[1] :].any()
    assert (dense.sum(axis=0) <= 1).all()
    inside = 0
    for mask, label in zip(dense.astype(bool), instances.classes, strict=True):
        inner = mask.copy()
        for axis in (0, 1):
            inner &= np.roll(mask, 1, axis) & np.roll(mask, -1, axis)
        inner[[0, -1]] = inner[:, [0, -1]] = False
        for axis in (0, 1):
            inner = inner & np.roll(inner, 1, axis) & np.roll(inner, -1, axis)
        inside += inner.sum()
        assert (image[inner] == (label + 1) * 4 + 20).all()
    return inside


@pytest.mark.parametrize(
    "augment",
    [
        InstanceAugment(flip="both"),
        InstanceAugment(scale=(0.8, 1.25)),
        InstanceAugment(flip="horizontal", scale=(0.1, 2.0)),
        InstanceAugment(flip=True, scale=0.5, copy_paste=1.0),
    ],
    ids=repr,
)
@pytest.mark.parametrize("size", [None, (32, 64)])
def test_in_step(augment, size):
    image, instances = sample()
    others = [sample(3, (30, 70)), sample(4, (64, 20))]
    inside = 0
    for seed in range(12):
        result = augment(image, instances, (seed, 1), size=size, other=lambda at: others[int(2 * at)])
        assert result[0].shape == (*(size or (40, 56)), 3)
        inside += assert_in_step(*result)
    assert inside > 500


def test_no_change():
    image, instances = sample()
    result, same, valid = InstanceAugment()(image, instances, (1, 2))
    np.testing.assert_array_equal(result, image)
    np.testing.assert_array_equal(same.dense(), instances.dense())
    assert valid == (40, 56)


@pytest.mark.parametrize(("flip", "axes"), [("horizontal", {(), (1,)}), ("vertical", {(), (0,)}),
                                            ("both", {(), (0,), (1,), (0, 1)})])  # fmt: skip
def test_flips(flip, axes):
    image, instances = sample()
    found = set()
    for seed in range(24):
        result, flipped, _ = InstanceAugment(flip=flip)(image, instances, (seed, 0))
        for one in axes:
            if (result == np.flip(image, one)).all():
                found.add(one)
                np.testing.assert_array_equal(flipped.dense(), np.flip(instances.dense(), [axis + 1 for axis in one]))
                break
        else:
            pytest.fail("neither the image nor a mirrored one")
    assert found == axes


def test_scale_is_uniform_over_its_range():
    # 200 draws: the mean of a uniform number over a range of 1 is off by more than 5 / sqrt(12 * 200) once in 2e6.
    image, instances = sample(size=(100, 100))
    augment = InstanceAugment(scale=(0.25, 1.25))
    sides = np.array([augment(image, instances, (seed, 0), size=(200, 200), fit=lambda _: 1.0)[2][0]
                      for seed in range(200)])  # fmt: skip
    assert 25 <= sides.min() < 35
    assert 115 < sides.max() <= 125
    assert abs(sides.mean() / 100 - 0.75) < 5 / np.sqrt(12 * 200)


def test_scale_with_the_canvas():
    image, instances = sample()
    # 40x56 fits 80x80 at 80/56; a number s is 1/(1+s)..1+s.
    for seed in range(10):
        valid = InstanceAugment(scale=(0.5, 0.5))(image, instances, (seed, 0), size=(80, 80))[2]
        assert valid == (29, 40)
        low, high = sorted(InstanceAugment(scale=3)(image, instances, (seed, 0), size=(80, 80))[2])
        assert low >= 14
        assert high >= 20


def test_vanished_objects_are_dropped():
    # A pixel at the left edge and a wide object: enlarged twice, the crop of one half shows the pixel or it does not.
    masks = np.zeros((2, 10, 20), np.uint8)
    masks[0, 4, 0] = masks[1, :, 8:12] = 1
    instances = Instances(np.packbits(masks, axis=2, bitorder="little"), [0, 1], (10, 20))
    image = np.zeros((10, 20, 3), np.uint8)
    seen = set()
    for seed in range(20):
        _, left, _ = InstanceAugment(scale=(2, 2))(image, instances, (seed, 0))
        seen.add(tuple(left.classes.tolist()))
        assert (left.areas() > 0).all()
    assert seen == {(1,), (0, 1)}


def test_copy_paste():
    image, instances = sample(1)
    other = sample(9, count=8)
    other[1].crowd[0] = True
    chosen, pasted, asked = 0, 0, []

    def others(at):
        asked.append(at)
        return other

    for seed in range(60):
        augment = InstanceAugment(copy_paste=0.5)
        before = len(asked)
        _, result, _ = augment(image, instances, (seed, 5), other=others)
        if len(asked) == before:
            np.testing.assert_array_equal(result.dense(), instances.dense())
            continue
        chosen += 1
        # Those of the other image come last, in full; the crowd is not among them.
        new = [mask for mask in result.dense() for one in other[1].dense()[1:] if (mask == one).all()]
        assert not any((mask == other[1].dense()[0]).all() for mask in result.dense())
        pasted += len(new)
    # Bounds of binomial numbers at five standard deviations.
    assert abs(chosen - 30) < 5 * np.sqrt(60 / 4)
    count = chosen * (len(other[1]) - 1)
    assert abs(pasted - count / 2) < 5 * np.sqrt(count / 4)
    assert 0 <= min(asked) < 0.3
    assert 0.7 < max(asked) < 1


def test_pasted_objects_enlarge_the_valid_part():
    image, instances = sample(size=(10, 10), count=1)
    other = np.full((40, 40, 3), 24, np.uint8), instances_from_masks(np.ones((40, 40), np.uint8))
    sizes = set()
    for seed in range(12):
        _, result, valid = InstanceAugment(copy_paste=1.0)(
            image, instances, (seed, 0), size=(40, 48), fit=lambda _: 1.0, other=lambda _: other
        )
        sizes.add(valid)
        assert result.boxes[:, 2:].max(axis=0).tolist() == [40, 40] or valid == (10, 10)
    assert sizes == {(10, 10), (40, 40)}


def test_light():
    image = np.full((8, 8, 3), 100, np.uint8)
    image[:4] = 120
    instances = instances_from_masks(np.eye(8, dtype=np.uint8))
    levels = set()
    for seed in range(30):
        bright, _, _ = InstanceAugment(brightness=0.1)(image, instances, (seed, 0), size=(8, 12))
        assert (bright[:, 8:] == 0).all()  # the padding has no light
        levels.add(int(bright[7, 0, 0]))
        assert bright[0, 0, 0] == bright[7, 0, 0] + 20
        contrast, _, _ = InstanceAugment(contrast=0.5)(image, instances, (seed, 0))
        # About the mean, 110.
        assert int(contrast[0, 0, 0]) + int(contrast[7, 0, 0]) == 220
        assert 10 <= int(contrast[0, 0, 0]) - int(contrast[7, 0, 0]) <= 30
    assert min(levels) >= 100 - 26
    assert max(levels) <= 100 + 26
    assert len(levels) > 15
    assert InstanceAugment(brightness=9.0)(image, instances, (1, 0))[0].dtype == np.uint8
    small = InstanceAugment(brightness=9.0, input_range=(100, 110))(image, instances, (1, 0))[0]
    assert set(np.unique(small)) <= {100, 110}


def test_the_same_seed_makes_the_same_change():
    image, instances = sample()
    augment = InstanceAugment(flip="both", scale=(0.1, 2.0), copy_paste=0.5, brightness=0.2, contrast=0.2)

    def digest(seed):
        result, left, valid = augment(image, instances, seed, other=lambda _: sample(8))
        return result.tobytes(), left.masks.tobytes(), left.boxes.tobytes(), valid

    assert digest((3, -4)) == digest(np.array([3, -4], np.int32))
    assert len({digest((a, b)) for a in range(3) for b in range(3)}) == 9


def test_config():
    augment = InstanceAugment(flip="horizontal", scale=(0.1, 2.0), copy_paste=0.5, contrast=0.2, input_range=(0, 1))
    assert InstanceAugment.from_config(augment.get_config()).get_config() == augment.get_config()
    assert augment.scale == (0.1, 2.0)
    assert repr(InstanceAugment(scale=0.25)) == "InstanceAugment(scale=0.25)"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"flip": "left"}, "flip must be 'horizontal', 'vertical', 'both' or None, got 'left'"),
        ({"scale": -1}, "scale must be a number at least 0, got -1"),
        (
            {"scale": (2.0, 0.1)},
            r"scale must be a number or \(lowest, highest\) with 0 < lowest <= highest, got \(2.0, 0",
        ),
        ({"copy_paste": 1.5}, r"copy_paste must be a number in 0..1, got 1.5"),
        ({"brightness": "much"}, "brightness must be a number at least 0, got 'much'"),
        ({"contrast": 2}, r"contrast must be a number in 0..1, got 2"),
    ],
)
def test_arguments(arguments, text):
    with pytest.raises(ValueError, match=text):
        InstanceAugment(**arguments)
