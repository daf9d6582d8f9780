"""Crops around pixels of chosen classes: which, how often, and within the image."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from kseg.data import Augment, ClassBalancedCrop, CropPlace, ForegroundCrop, Source, pipeline
from kseg.data.cropping import uniform_place

COUNT = 300


def corners(crops, mask, size=(5, 5), classes=4, ignore_index=255, count=COUNT):
    """The corners of `count` crops, int `(count, 2)`."""
    place = crops.bind(classes, ignore_index)
    function = tf.function(lambda mask, seed: tf.stack(place(mask, size, seed)))
    return np.array([function(tf.constant(mask, tf.int32), tf.constant([n, 7])).numpy() for n in range(count)])


def centres(*args, size=(5, 5), **options):
    return corners(*args, size=size, **options) + np.array(size) // 2


def scattered():
    """A background with one pixel of class 1, twenty of class 2 and four of void; class 3 is absent."""
    mask = np.zeros((40, 50), np.int32)
    mask[10, 12] = 1
    mask[20:24, 30:35] = 2
    mask[30, 20:24] = 255
    return mask


def test_classes_are_drawn_as_often_as_asked():
    mask = scattered()
    found = centres(ClassBalancedCrop([1, 1, 2, 5]), mask)
    labels = mask[tuple(found.T)]
    # Class 3 is absent: what it was given is shared. 300 draws with probability 1/4, 1/4 and 1/2: 5 standard
    # deviations of at most 8.7 around 75, 75, 150. Crops of the background are moved within the image, and its labels
    # with them.
    assert abs((labels == 1).sum() - 75) < 43
    assert abs((labels == 2).sum() - 150) < 43
    assert len(np.unique(found[labels == 2], axis=0)) == 20, "every pixel of a class can be drawn"
    assert not (labels == 255).any()


def test_equal_probabilities_and_dicts():
    mask = scattered()
    labels = mask[tuple(centres(ClassBalancedCrop(), mask).T)]
    assert abs((labels == 1).sum() - 100) < 41
    assert abs((labels == 2).sum() - 100) < 41
    only = mask[tuple(centres(ClassBalancedCrop({1: 0.1}), mask, count=20).T)]
    assert set(only) == {1}


def test_pixels_of_a_class_are_drawn_uniformly():
    mask = np.zeros((11, 9), np.int32)
    mask[3:8, 4:7] = 2
    mask[9, 4] = 2
    found = centres(ClassBalancedCrop({2: 1}), mask, size=(1, 1), count=800)
    counts = np.unique(found, axis=0, return_counts=True)[1]
    assert len(counts) == 16
    # 50 each, standard deviation 6.8.
    assert counts.min() > 50 - 34
    assert counts.max() < 50 + 34


def test_foreground_is_what_is_neither_background_nor_void():
    mask = scattered()
    labels = mask[tuple(centres(ForegroundCrop(), mask).T)]
    assert set(labels) == {1, 2}
    assert (labels == 1).sum() < COUNT * (1 / 21) + 5 * 3.7  # one of 21 pixels
    other = mask[tuple(centres(ForegroundCrop(background=2), mask).T)]
    assert 2 not in other


@pytest.mark.parametrize("crops", [ForegroundCrop(0.25), ClassBalancedCrop({1: 1, 2: 1}, 0.25)])
def test_mixing_with_uniform_crops(crops):
    mask = scattered()
    labels = mask[tuple(centres(crops, mask, size=(1, 1)).T)]
    # A uniform crop hits one of the 21 pixels of 2000 in 1 % of the draws: 77 of 300, standard deviation 7.6.
    assert abs((np.isin(labels, (1, 2))).sum() - 77) < 38


@pytest.mark.parametrize(
    ("crops", "mask"),
    [
        (ForegroundCrop(0.0), scattered()),
        (ForegroundCrop(), np.zeros((40, 50), np.int32)),
        (ClassBalancedCrop({3: 1}), scattered()),
        (ClassBalancedCrop(), np.full((40, 50), 255, np.int32)),
    ],
)
def test_without_a_marked_pixel_crops_are_the_uniform_ones(crops, mask):
    found = corners(crops, mask, count=20)
    uniform = [np.array(uniform_place(tf.constant(mask), (5, 5), tf.constant([n, 7]))) for n in range(20)]
    np.testing.assert_array_equal(found, uniform)
    assert len(np.unique(found, axis=0)) > 10


def test_crops_stay_within_the_image():
    mask = np.zeros((9, 30), np.int32)
    mask[0, 0] = mask[8, 29] = mask[4, 15] = 1
    found = {tuple(corner) for corner in corners(ForegroundCrop(), mask, size=(6, 8), count=60)}
    assert found == {(0, 0), (3, 22), (1, 11)}
    # Higher than the image: nothing to choose on that axis.
    assert {tuple(c) for c in corners(ForegroundCrop(), mask, size=(20, 8), count=60)} == {(0, 0), (0, 22), (0, 11)}


def test_spread_moves_the_pixel_within_the_crop():
    mask = np.zeros((60, 60), np.int32)
    mask[30, 30] = 1
    for side in (10, 9):
        within = 30 - corners(ForegroundCrop(spread=1.0), mask, size=(side, side))
        assert set(within.flatten().tolist()) == set(range(side))
    half = 30 - corners(ForegroundCrop(spread=0.5), mask, size=(12, 12))
    assert half.min() >= 3
    assert half.max() <= 8


def test_pure_function_of_the_seed():
    mask = scattered()
    one, other = (corners(ClassBalancedCrop(probability=0.7, spread=0.3), mask, count=30) for _ in range(2))
    np.testing.assert_array_equal(one, other)


# In the pipeline


class Spots(Source):
    """Images that equal their masks: one pixel of class 1 at a place that the index tells, in two sizes."""

    def __init__(self, sizes=((40, 30),), ignore_index=255):
        super().__init__(channels=1, num_classes=3, ignore_index=ignore_index)
        self.shapes = sizes

    def __len__(self):
        return 24

    def load(self, index):
        shape = self.shapes[index % len(self.shapes)]
        mask = np.zeros(shape, np.uint8)
        mask[index * 7 % shape[0], index * 11 % shape[1]] = 1
        return mask[..., None] * np.uint8(100), mask


@pytest.mark.parametrize("augment", [None, Augment(flip="both"), Augment(flip="both", crop=9), Augment(rotate=90)])
@pytest.mark.parametrize("crops", [ForegroundCrop(), ClassBalancedCrop({1: 1})])
def test_pipeline_crops_around_them(crops, augment):
    size = None if augment is not None and augment.crop else 9
    options = {"crop_size": size, "random_crop": crops, "augment": augment, "seed": 3}
    batches = list(pipeline(Spots(), 8, epoch=1, **options))
    for image, mask in batches:
        assert mask.shape == (8, 9, 9)
        if augment is None or not augment.rotate:
            assert (mask.numpy() == 1).sum(axis=(1, 2)).tolist() == [1] * 8
            np.testing.assert_array_equal(image.numpy()[..., 0] == 100, mask.numpy() == 1)
    seen = sum((mask.numpy() == 1).any(axis=(1, 2)).sum() for _, mask in batches)
    # A rotated crop takes the nearest pixels: now and then none of them is the spot, and spots near the border leave.
    assert seen >= (24 if augment is None or not augment.rotate else 12)
    again = list(pipeline(Spots(), 8, epoch=1, **options))
    for (_, one), (_, other) in zip(batches, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_passes_differ_without_shuffling():
    dataset = pipeline(Spots(), 24, crop_size=9, random_crop=ForegroundCrop(spread=0.8))
    first, second = (next(iter(dataset))[1].numpy() for _ in range(2))
    assert (first != second).any()


@pytest.mark.parametrize("augment", [None, Augment()])
def test_smaller_images_are_padded_with_void(augment):
    source = Spots(((40, 30), (6, 20)), ignore_index=9)
    _, masks = next(iter(pipeline(source, 24, crop_size=12, random_crop=ForegroundCrop(), augment=augment)))
    for index, mask in enumerate(masks.numpy()):
        assert (mask == 1).sum() == 1
        assert (mask == 9).sum() == (6 * 12 if index % 2 else 0)


def test_padding_of_a_source_without_void_is_not_chosen():
    # Padded with class 0, which is asked for: the crop must still lie around the zeros of the image itself.
    class Narrow(Spots):
        def load(self, index):
            mask = np.ones((3, 40), np.uint8)
            mask[1, 25] = 0
            return mask[..., None], mask

    options = {"crop_size": (8, 9), "random_crop": ClassBalancedCrop({0: 1})}
    _, masks = next(iter(pipeline(Narrow(ignore_index=None), 24, **options)))
    assert (masks.numpy()[:, 1, 4] == 0).all()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ForegroundCrop(1.5), ValueError, r"probability must be a number in 0\.\.1, got 1\.5"),
        (lambda: ForegroundCrop(spread=-1), ValueError, r"spread must be a number in 0\.\.1, got -1"),
        (lambda: ForegroundCrop(background=0.5), TypeError, r"background must be a class number, got 0\.5"),
        (
            lambda: ForegroundCrop(background=3).bind(3, 255),
            ValueError,
            r"background must be one of the source's classes 0\.\.2, got 3",
        ),
        (
            lambda: ClassBalancedCrop("ab"),
            ValueError,
            "class_probabilities must be one number per class, or None, got 'ab'",
        ),
        (
            lambda: ClassBalancedCrop([0, 0]),
            ValueError,
            r"class_probabilities must be finite numbers of at least 0, not all of them 0, got \[0, 0\]",
        ),
        (lambda: ClassBalancedCrop([1, -1]), ValueError, "class_probabilities must be finite numbers of at least 0"),
        (
            lambda: ClassBalancedCrop([1, 1]).bind(3, 255),
            ValueError,
            "class_probabilities must hold 3 numbers, one per class, got 2",
        ),
        (
            lambda: ClassBalancedCrop({3: 1}).bind(3, 255),
            ValueError,
            r"class_probabilities names class 3, but the source has the classes 0\.\.2",
        ),
        (
            lambda: pipeline(Spots(), 2, random_crop=ForegroundCrop()),
            ValueError,
            r"random_crop=ForegroundCrop\(probability=1\.0, background=0, spread=0\.0\) needs crop_size",
        ),
        (
            lambda: pipeline(Spots(), 2, crop_size=4, random_crop="yes"),
            TypeError,
            "random_crop must be True, False, None, a kseg.data.ClassBalancedCrop .*, got 'yes'",
        ),
        (
            lambda: CropPlace().wanted(None, None, 2, 255),
            NotImplementedError,
            "CropPlace must implement wanted",
        ),
    ],
)
def test_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_sigmoid_sources_have_two_classes():
    assert ClassBalancedCrop([1, 3]).bind(1, 255) is not None
    config = ClassBalancedCrop({1: 2.0}, 0.5).get_config()
    assert (
        ClassBalancedCrop(**config).get_config()
        == config
        == {
            "class_probabilities": {1: 2.0},
            "probability": 0.5,
            "spread": 0.0,
        }
    )
