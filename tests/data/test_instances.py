"""Objects with packed masks: what they hold, where they come from, and how they are laid on a canvas."""

from __future__ import annotations

import numpy as np
import pytest

from kseg.data import CellInstancesSource, CellsSource, DataError, Instances, SizeBuckets, instances_from_masks
from kseg.data.instances.copy_paste import copy_paste
from kseg.data.instances.packed_masks import boxes_of
from kseg.data.instances.placement import Placement
from kseg_ops import rle
from kseg_ops.numpy import pack_masks


def random_ids(seed, size=(13, 21), count=5):
    """Overlapping rectangles with ids that are no 1..n; background 0."""
    random = np.random.default_rng(seed)
    ids = np.zeros(size, np.int32)
    for number in range(count):
        top, left = random.integers(0, size[0] - 1), random.integers(0, size[1] - 1)
        height, width = (random.integers(1, side // 2 + 2) for side in size)
        ids[top : top + height, left : left + width] = 10 * number + 3
    return ids


def plain_boxes(masks):
    """Boxes by the definition."""
    boxes = []
    for mask in masks:
        y, x = np.nonzero(mask)
        boxes.append([x.min(), y.min(), x.max() + 1, y.max() + 1] if y.size else [0, 0, 0, 0])
    return np.array(boxes).reshape(-1, 4)


@pytest.mark.parametrize("seed", range(6))
def test_from_masks(seed):
    ids = random_ids(seed)
    instances = instances_from_masks(ids, crowd_ids=[13])
    numbers = [number for number in np.unique(ids) if number]
    dense = np.stack([ids == number for number in numbers])
    np.testing.assert_array_equal(instances.dense(), dense)
    np.testing.assert_array_equal(instances.masks, pack_masks(dense))
    np.testing.assert_array_equal(instances.boxes, plain_boxes(dense))
    np.testing.assert_array_equal(instances.areas(), dense.sum(axis=(1, 2)))
    assert instances.crowd.tolist() == [number == 13 for number in numbers]
    assert instances.classes.tolist() == [0] * len(numbers)


def test_from_masks_with_labels():
    ids = np.array([[0, 7, 7], [3, 3, 0]])
    labels = np.array([[0, 1, 1], [2, 2, 9]])  # the 9 belongs to no object
    assert instances_from_masks(ids, labels).classes.tolist() == [1, 0]
    assert instances_from_masks(ids, labels, first_label=0).classes.tolist() == [2, 1]
    assert instances_from_masks(ids, background=7).boxes.tolist() == [[0, 0, 3, 2], [0, 1, 2, 2]]
    with pytest.raises(
        DataError, match=r"labels differ within id 7 \(labels 1 to 4\): give the parts ids of their own"
    ):
        instances_from_masks(ids, np.array([[0, 1, 4], [2, 2, 0]]))
    with pytest.raises(DataError, match=r"labels of objects must be at least first_label=1, .* got 0 for id 3"):
        instances_from_masks(ids, np.array([[0, 1, 1], [0, 0, 0]]))
    with pytest.raises(ValueError, match=r"labels must have the shape of ids, \[2, 3\], got \[1, 3\]"):
        instances_from_masks(ids, labels[:1])
    with pytest.raises(TypeError, match="ids must be integers, got float64"):
        instances_from_masks(ids.astype(float))
    with pytest.raises(ValueError, match=r"ids must have shape \(H, W\), got \[1, 2, 3\]: one image at a time"):
        instances_from_masks(ids[None])


def test_from_masks_without_objects():
    instances = instances_from_masks(np.zeros((4, 9), np.uint8), np.zeros((4, 9), np.uint8))
    assert instances.masks.shape == (0, 4, 2)
    assert instances.boxes.shape == (0, 4)
    assert len(instances) == 0


def test_from_rles():
    dense = np.stack([random_ids(seed, count=2) > 0 for seed in range(4)])
    dense[2] = False
    instances = Instances.from_rles(rle.encode(dense), [4, 3, 2, 1], (13, 21), [False, True, True, False])
    np.testing.assert_array_equal(instances.dense(), dense[[0, 1, 3]])
    np.testing.assert_array_equal(instances.boxes, plain_boxes(dense[[0, 1, 3]]))
    assert instances.classes.tolist() == [4, 3, 1]
    assert instances.crowd.tolist() == [False, True, False]
    assert Instances.from_rles([], [], (13, 21)).masks.shape == (0, 13, 3)


def test_take_and_repr():
    instances = instances_from_masks(random_ids(1))
    part = instances.take(np.arange(len(instances)) > 1)
    np.testing.assert_array_equal(part.dense(), instances.dense()[2:])
    np.testing.assert_array_equal(part.boxes, instances.boxes[2:])
    assert repr(part) == f"Instances({len(part)} in 13x21, classes [0])"


def test_what_instances_refuse():
    masks = np.zeros((2, 4, 2), np.uint8)
    with pytest.raises(
        TypeError, match=r"masks must be uint8, a bit per pixel \(kseg_ops.numpy.pack_masks\), got bool"
    ):
        Instances(masks.astype(bool), [0, 0], (4, 9))
    with pytest.raises(
        ValueError, match=r"\[2, 4, 3\] for 2 classes and the size 4x17 \(height x width\), got \[2, 4, 2\]"
    ):
        Instances(masks, [0, 0], (4, 17))
    with pytest.raises(TypeError, match=r"classes must be integers \[N\], got float64 \[2\]"):
        Instances(masks, [0.0, 1.0], (4, 9))
    with pytest.raises(ValueError, match="classes must be at least 0, got -1"):
        Instances(masks, [0, -1], (4, 9))
    with pytest.raises(ValueError, match=r"crowd must hold one bool per instance, 2, got shape \[1\]"):
        Instances(masks, [0, 0], (4, 9), [True])
    with pytest.raises(ValueError, match=r"boxes must have shape \[N, 4\], one per mask, 2, got \[1, 4\]"):
        Instances(masks, [0, 0], (4, 9), boxes=[[0, 0, 1, 1]])


def test_boxes_of_empty_masks():
    assert boxes_of(np.zeros((1, 3, 2), np.uint8), 9).tolist() == [[0, 0, 0, 0]]


@pytest.mark.parametrize("flip", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("scale", [0.37, 0.5, 1.0, 1.6, 3.0])
def test_placing_is_the_nearest_pixel(scale, flip):
    # Against dense masks, resized by the definition: the source pixel below each centre.
    size, canvas = (13, 21), (17, 30)
    instances = instances_from_masks(random_ids(3))
    placement = Placement.scaled(size, scale, canvas, flip, (0.9, 0.3))
    placed = placement.instances(instances)

    whole = [max(1, int(side * scale + 0.5)) for side in size]
    kept = [min(a, b) for a, b in zip(whole, canvas, strict=True)]
    first = [int(at * (a - b + 1)) for at, a, b in zip((0.9, 0.3), whole, kept, strict=True)]
    index = [
        np.floor((np.arange(count) + start + 0.5) * side / total).astype(int)[:: -1 if turned else 1]
        for count, start, side, total, turned in zip(kept, first, size, whole, flip, strict=True)
    ]
    expected = np.zeros((len(instances), *canvas), np.uint8)
    expected[:, : kept[0], : kept[1]] = instances.dense()[:, index[0]][:, :, index[1]]
    left = expected.any(axis=(1, 2))
    np.testing.assert_array_equal(placed.dense(), expected[left])
    np.testing.assert_array_equal(placed.boxes, plain_boxes(expected[left]))
    assert placement.size == tuple(kept)


def test_placed_images_and_masks_stay_together():
    # Each object has a colour of its own. Bilinear interpolation mixes it with others no farther from the edge than
    # half a source pixel (1.25 pixels at 2.5 times) or, where it shrinks, a pixel; masks' edges are rounded by half.
    ids = random_ids(9, (48, 56), 3)
    image = np.repeat((ids * 5).astype(np.uint8)[..., None], 3, axis=2)
    instances = instances_from_masks(ids, ids, first_label=0)
    for scale, flip in ((1.0, (True, True)), (2.5, (False, True)), (0.6, (True, False)), (1.3, (False, False))):
        placement = Placement.scaled(ids.shape, scale, (60, 60), flip, (0.4, 0.4))
        pixels = placement.image(image, fill=9)
        height, width = placement.size
        assert (pixels[height:] == 9).all()
        assert (pixels[:, width:] == 9).all()
        covered = 0
        placed = placement.instances(instances)
        for number, mask in zip(placed.classes, placed.dense(), strict=True):
            inner = mask.astype(bool)
            for axis in (0, 1, 0, 1):
                inner = inner & np.roll(inner, 1, axis) & np.roll(inner, -1, axis)
            inner[[0, -1]] = inner[:, [0, -1]] = False
            covered += inner.sum()
            assert (pixels[inner] == number * 5).all()
        assert covered > 30


def test_placing_other_images():
    image = np.random.default_rng(0).random((6, 7, 2), np.float32)
    same = Placement.scaled((6, 7), 1.0, (8, 8)).image(image, fill=0.5)
    np.testing.assert_array_equal(same[:6, :7], image)
    assert (same[6:] == 0.5).all()
    larger = Placement.scaled((6, 7), 2.0, (12, 14)).image(image)
    assert larger.dtype == np.float32
    assert larger.shape == (12, 14, 2)
    # Within the range, and the mean of the corners stays theirs.
    assert image.min() <= larger.min()
    assert larger.max() <= image.max()
    np.testing.assert_array_equal(larger[0, 0], image[0, 0])


def test_copy_paste_by_hand():
    ids = np.zeros((6, 10), np.uint8)
    ids[0:4, 0:4] = 1  # loses its lower half
    ids[2:4, 8:10] = 2  # is covered
    ids[5, 0:3] = 3  # is untouched
    below = instances_from_masks(ids, crowd_ids=[3])
    other = np.zeros((6, 10), np.uint8)
    other[2:5, :] = 1
    pasted = instances_from_masks(other, labels=7 * other)
    image, other_image = np.full((6, 10, 3), 10, np.uint8), np.full((6, 10, 3), 20, np.uint8)
    result, instances = copy_paste(image, below, other_image, pasted)
    np.testing.assert_array_equal(result[..., 0], np.where(other, 20, 10))
    np.testing.assert_array_equal(instances.dense(), [(ids == 1) & (other == 0), ids == 3, other == 1])
    assert instances.boxes.tolist() == [[0, 0, 4, 2], [0, 5, 3, 6], [0, 2, 10, 5]]
    assert instances.classes.tolist() == [0, 0, 6]
    assert instances.crowd.tolist() == [False, True, False]
    # What was given is as it was.
    assert image.max() == 10
    np.testing.assert_array_equal(below.dense(), [ids == number for number in (1, 2, 3)])


def test_cells():
    cells = CellsSource(3, (48, 40), seed=4, channels=3)
    source = CellInstancesSource(cells)
    assert (source.num_classes, source.channels, source.class_names) == (1, 3, ["cell"])
    assert source.sizes == [(48, 40)] * 3
    for index in range(3):
        image, instances = source.load(index)
        np.testing.assert_array_equal(image, cells.load(index)[0])
        ids = cells.load_instances(index)
        np.testing.assert_array_equal(instances.dense(), [ids == number for number in range(1, ids.max() + 1)])


def test_buckets():
    buckets = SizeBuckets.of_sides(800, 1333)
    assert buckets.sizes == [(800, 1088), (800, 1344), (1088, 800), (1344, 800)]
    # Images of 4:3, 3:2, 2:1 and 1:1, as large as torchvision makes them.
    for size, canvas, drawn in (
        ((480, 640), (800, 1088), (800, 1067)),
        ((640, 480), (1088, 800), (1067, 800)),
        ((427, 640), (800, 1344), (800, 1199)),
        ((400, 800), (800, 1344), (667, 1333)),
        ((800, 400), (1344, 800), (1333, 667)),
        ((50, 50), (800, 1088), (800, 800)),
    ):
        assert buckets.sizes[buckets.choose(size)] == canvas
        assert Placement.scaled(size, buckets.scale(size, canvas), canvas).size == drawn
    assert SizeBuckets.of_sides(100, 100).sizes == [(128, 128)]
    assert SizeBuckets.of(96, None, None).sizes == [(96, 96)]
    assert SizeBuckets.of((64, 96), None, None).sizes == [(64, 96)]
    two = SizeBuckets.of([(64, 96), (96, 64)], None, None)
    assert [two.choose(size) for size in ((10, 20), (20, 10), (10, 10))] == [0, 1, 0]
    assert two.scale((10, 20), (64, 96)) == 4.8


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((None, 800, None), "min_side and max_side must be given together, got min_side=800 and max_side=None"),
        ((64, 800, 1333), "image_size must be None where min_side and max_side are given"),
        ((None, 0, 10), "min_side must be an integer of at least 1, in pixels, got 0"),
        ((None, 20, 10), "min_side must be at most max_side, got 20 and 10"),
        (((64, 0), None, None), r"image_size must be a number of pixels or \(height, width\), each at least 1"),
        ([[], None, None], r"image_size must be a number of pixels or \(height, width\), each at least 1, got \[\]"),
    ],
)
def test_buckets_refuse(arguments, text):
    with pytest.raises(ValueError, match=text):
        SizeBuckets.of(*arguments)
