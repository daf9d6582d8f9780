"""The tf.data pipeline over objects: shapes, buckets, order, resuming, padding, memory."""

from __future__ import annotations

import tracemalloc

import keras
import numpy as np
import pytest
import tensorflow as tf

import kseg_ops
from kseg.data import (
    CellInstancesSource,
    CellsSource,
    DataError,
    InstanceAugment,
    Instances,
    InstanceSource,
    cell_instances,
    instance_pipeline,
    instances_from_masks,
)

STRONG = InstanceAugment(flip="both", scale=(0.1, 2.0), copy_paste=0.5, brightness=0.1, contrast=0.2)


class Numbered(InstanceSource):
    """Image `index` holds the value `index` and one object, of which every pixel of row 1 is part."""

    def __init__(self, count=10, sizes=((8, 12),), objects=1, **options):
        super().__init__(num_classes=100, **options)
        self.count, self.shapes, self.objects, self.loaded = count, sizes, objects, []

    def __len__(self):
        return self.count

    @property
    def sizes(self):
        return [self.shapes[index % len(self.shapes)] for index in range(self.count)]

    @property
    def image_ids(self):
        return [1000 + index for index in range(self.count)]

    def load(self, index):
        self.loaded.append(index)
        size = self.sizes[index]
        ids = np.zeros(size, np.int32)
        for number in range(self.objects):
            ids[1, number : size[1]] = number + 1
        return np.full((*size, 3), index, self.dtype), instances_from_masks(ids, ids)


def numbers(dataset):
    return [number - 1000 for _, targets in dataset for number in targets["image_ids"].numpy()]


def flat(dataset):
    return [[image.numpy(), *(targets[name].numpy() for name in sorted(targets))] for image, targets in dataset]


def assert_same(one, other):
    assert len(one) == len(other)
    for batch, batch2 in zip(one, other, strict=True):
        assert all(a.tobytes() == b.tobytes() and a.shape == b.shape for a, b in zip(batch, batch2, strict=True))


def test_elements():
    dataset = instance_pipeline(Numbered(), 4, max_instances=3)
    images, targets = dataset.element_spec
    assert images == tf.TensorSpec([None, 8, 12, 3], tf.uint8)
    assert targets == {
        "boxes": tf.TensorSpec([None, 3, 4], tf.float32),
        "classes": tf.TensorSpec([None, 3], tf.int32),
        "masks": tf.TensorSpec([None, 3, 8, 2], tf.uint8),
        "crowd": tf.TensorSpec([None, 3], tf.bool),
        "sizes": tf.TensorSpec([None, 2], tf.int32),
        "image_ids": tf.TensorSpec([None], tf.int64),
    }
    assert int(dataset.cardinality()) == 3
    assert numbers(dataset) == list(range(10))
    batches = list(dataset)
    assert [len(image) for image, _ in batches] == [4, 4, 2]
    image, targets = batches[1]
    assert image[:, 0, 0, 0].numpy().tolist() == [4, 5, 6, 7]
    assert targets["boxes"][0].numpy().tolist() == [[0, 1, 12, 2], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert targets["classes"][0].numpy().tolist() == [0, -1, -1]
    assert targets["sizes"].numpy().tolist() == [[8, 12]] * 4
    assert not targets["crowd"].numpy().any()
    masks = kseg_ops.unpack_masks(targets["masks"], 12).numpy()
    assert masks[:, 0, 1].all()
    assert masks.sum() == 4 * 12
    # All full: the batch is static.
    assert instance_pipeline(Numbered(), 5).element_spec[0].shape == [5, 8, 12, 3]
    assert instance_pipeline(Numbered(), 4, drop_remainder=True).element_spec[0].shape == [4, 8, 12, 3]
    assert int(instance_pipeline(Numbered(), 4, drop_remainder=True).cardinality()) == 2


def test_padding_of_images():
    source = Numbered(1, [(4, 12)])
    images, targets = next(iter(instance_pipeline(source, 1, image_size=(8, 12), fill=7)))
    assert targets["sizes"].numpy().tolist() == [[4, 12]]
    assert (images.numpy()[0, :4] == 0).all()
    assert (images.numpy()[0, 4:] == 7).all()
    images, _ = next(iter(instance_pipeline(Numbered(1, [(4, 12)], dtype="float32"), 1, image_size=(8, 12), fill=0.5)))
    assert images.dtype == tf.float32
    assert (images.numpy()[0, 4:] == 0.5).all()


SIZES = ((30, 40), (40, 30), (20, 40), (30, 40), (40, 30))


def test_buckets():
    source = Numbered(23, SIZES)
    dataset = instance_pipeline(source, 3, min_side=60, max_side=120, shuffle=True, epoch=0)
    assert dataset.element_spec[0].shape == [None, None, None, 3]
    found, shapes, partial = [], set(), 0
    for images, targets in dataset:
        height, width = images.shape[1:3]
        shapes.add((height, width))
        partial += len(images) < 3
        assert targets["masks"].shape == (len(images), 100, height, -(-width // 8))
        for number, size in zip(targets["image_ids"].numpy() - 1000, targets["sizes"].numpy(), strict=True):
            found.append(number)
            h, w = source.sizes[number]
            assert (h > w) == (height > width)
            assert size.tolist() == {(30, 40): [60, 80], (40, 30): [80, 60], (20, 40): [60, 120]}[(h, w)]
    assert sorted(found) == list(range(23))
    assert shapes == {(64, 96), (96, 64), (64, 128)}
    assert partial == sum(count % 3 > 0 for count in (9, 9, 5))
    assert int(dataset.cardinality()) == 3 + 3 + 2
    dropped = instance_pipeline(source, 3, min_side=60, max_side=120, drop_remainder=True)
    assert int(dropped.cardinality()) == 3 + 3 + 1 == len(list(dropped))
    # Not shuffled, batches come in the order of their first images.
    assert numbers(instance_pipeline(source, 3, min_side=60, max_side=120))[:9] == [0, 3, 5, 1, 4, 6, 2, 7, 12]


def test_sizes_that_differ_and_are_not_asked_for():
    assert instance_pipeline(Numbered(4, SIZES), 1).element_spec[0].shape[1:] == [None, None, 3]
    shapes = [images.shape[1:3] for images, _ in instance_pipeline(Numbered(2, SIZES), 1)]
    assert shapes == [(800, 1088), (1088, 800)]
    assert instance_pipeline(Numbered(2, SIZES[:1]), 1).element_spec[0].shape == [1, 30, 40, 3]


def test_order_is_a_function_of_seed_and_epoch():
    def order(**options):
        return numbers(instance_pipeline(Numbered(20, SIZES), 3, image_size=8, shuffle=True, **options))

    assert sorted(order(epoch=0)) == list(range(20))
    assert order(epoch=3) == order(epoch=3)
    assert len({tuple(order(epoch=e, seed=s)) for e in range(3) for s in range(3)}) == 9


def test_without_epoch_each_pass_is_the_next_epoch():
    source = CellInstancesSource(CellsSource(7, 32, channels=3))
    options = {"shuffle": True, "augment": STRONG, "seed": 9}
    dataset = instance_pipeline(source, 2, **options)
    for epoch in range(3):
        assert_same(flat(dataset), flat(instance_pipeline(source, 2, epoch=epoch, **options)))
    fixed = instance_pipeline(source, 2)
    assert_same(flat(fixed), flat(fixed))


@pytest.mark.parametrize("start", [0, 1, 4, 8])
def test_resumed_epoch_is_bit_identical_to_the_tail(start):
    options = {"shuffle": True, "augment": STRONG, "seed": 3, "epoch": 5, "min_side": 24, "max_side": 48}
    source = Numbered(20, SIZES, objects=4)
    whole = flat(instance_pipeline(source, 3, **options))
    assert len(whole) == 8
    tail = instance_pipeline(source, 3, start_batch=start, **options)
    assert int(tail.cardinality()) == 8 - start
    assert_same(flat(tail), whole[start:])


def test_resuming_loads_nothing_before():
    source = Numbered(20)
    list(instance_pipeline(source, 4, epoch=0, start_batch=3))
    assert sorted(source.loaded) == list(range(12, 20))


def test_cache():
    source = Numbered(6)
    dataset = instance_pipeline(source, 3, cache=True, shuffle=True)
    first = sorted(numbers(dataset))
    assert sorted(numbers(dataset)) == first == list(range(6))
    assert sorted(source.loaded) == list(range(6))


def test_the_largest_objects_are_kept():
    class Counting(Numbered):
        @property
        def counts(self):
            return [5] * 2 + [2] * 8

    source = Counting(10, objects=5)
    with pytest.warns(
        UserWarning, match=r"^2 of 10 images have more than max_instances=2 objects: 00000 \(5\), 00001 \(5"
    ):
        dataset = instance_pipeline(source, 1, max_instances=2)
    _, targets = next(iter(dataset))
    # Object k of five begins at column k - 1 and covers those before it: 1 pixel each, and the last one the rest.
    assert targets["classes"].numpy().tolist() == [[0, 4]]
    assert targets["boxes"].numpy().tolist() == [[[0, 1, 1, 2], [4, 1, 12, 2]]]


def test_own_augmentation():
    seeds = []

    def halve(image, instances, seed):
        seeds.append(tuple(seed))
        return image[:, :6], Instances(instances.masks[:, :, :1] & 63, instances.classes, (8, 6), instances.crowd)

    images, targets = next(iter(instance_pipeline(Numbered(), 4, image_size=(16, 12), augment=halve)))
    assert images.shape == (4, 16, 12, 3)
    assert targets["sizes"].numpy().tolist() == [[16, 12]] * 4
    assert targets["boxes"].numpy()[:, 0].tolist() == [[0, 2, 12, 4]] * 4
    assert len(set(seeds)) >= 4


@pytest.mark.parametrize(
    ("augment", "text"),
    [
        (lambda image, instances, seed: image, r"augment must return \(image, Instances\), got"),
        (
            lambda *sample: InstanceAugment()(*sample),
            r"augment must return \(image, Instances\), got \(ndarray, Instances, tuple\) from <function",
        ),
        (
            lambda image, instances, seed: (image[:4], instances),
            r"instances of the image's size, got an image \(4, 12, 3\) and instances of \(8, 12\) from <function",
        ),
    ],
)
def test_own_augmentation_that_returns_something_else(augment, text):
    with pytest.raises(tf.errors.InvalidArgumentError, match=text):
        list(instance_pipeline(Numbered(1), 1, augment=augment))


def test_cells_train_with_fit():
    class Areas(keras.Model):
        """Learns the sum of the areas: enough to see that `fit` takes what comes."""

        def __init__(self):
            super().__init__()
            self.factor = self.add_weight(shape=(), initializer="zeros")

        def call(self, images):
            return self.factor * tf.cast(tf.reduce_mean(images, axis=(1, 2, 3)), tf.float32)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            boxes = y["boxes"]
            areas = tf.reduce_sum((boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1]), axis=1)
            return tf.reduce_mean(tf.abs(areas / 4096 - y_pred))

    dataset = cell_instances(5, 2, 64, augment=STRONG, shuffle=True, channels=3)
    assert dataset.element_spec[0].shape == [None, 64, 64, 3]
    model = Areas()
    model.compile(optimizer="sgd")
    history = model.fit(dataset, epochs=2, shuffle=False, verbose=0).history["loss"]
    assert np.isfinite(history).all()


class Large(InstanceSource):
    """A hundred objects that cover an image of 800x1333 from edge to edge."""

    def __init__(self):
        super().__init__(num_classes=1)

    def __len__(self):
        return 1

    @property
    def sizes(self):
        return [(800, 1333)]

    def load(self, index):
        whole = {"size": [800, 1333], "counts": [0, 800 * 1333]}
        return np.zeros((800, 1333, 3), np.uint8), Instances.from_rles([whole] * 100, [0] * 100, (800, 1333))


@pytest.mark.parametrize(
    "augment", [None, InstanceAugment(flip="horizontal", scale=(0.9, 1.0))], ids=["plain", "augment"]
)
def test_a_hundred_large_masks_cost_fourteen_megabytes(augment):
    dataset = instance_pipeline(Large(), 1, augment=augment)
    tracemalloc.start()
    try:
        _, targets = next(iter(dataset))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert targets["masks"].shape == (1, 100, 800, 167)
    assert (targets["classes"].numpy() == 0).all()
    size = sum(value.numpy().nbytes for value in targets.values())
    assert 13e6 < size <= 14e6
    # NumPy holds the masks as they were read and as they lie on the canvas, the image twice, and one mask with a byte
    # per pixel a few times over. A hundred of those would be 107 MB.
    assert peak < 2 * 14e6 + 2 * 3.2e6 + 4 * 800 * 1333


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be an integer of at least 1, got 0"),
        ({"batch_size": 2.0}, TypeError, "batch_size must be an integer of at least 1, got 2.0"),
        ({"max_instances": 0}, ValueError, "max_instances must be an integer of at least 1, got 0"),
        ({"shuffle": 1}, TypeError, "shuffle must be True or False, got 1"),
        (
            {"augment": "flip"},
            TypeError,
            "augment must be a kseg.data.InstanceAugment, another callable or None, got 'f",
        ),
        ({"fill": 300}, ValueError, r"fill must be a number in 0..255, got 300"),
        ({"start_batch": 1}, ValueError, "start_batch=1 needs epoch: say which epoch is resumed"),
        ({"epoch": -1}, ValueError, "epoch must be None or at least 0, got -1"),
        (
            {"epoch": 0, "start_batch": 6},
            ValueError,
            r"start_batch must lie in 0..5 \(the batches of an epoch\), got 6",
        ),
        (
            {"batch_size": 11, "drop_remainder": True},
            ValueError,
            "batch_size=11 with drop_remainder=True leaves no batch: the canvases hold at most 10 images",
        ),
    ],
)
def test_arguments(options, error, text):
    with pytest.raises(error, match=text):
        instance_pipeline(Numbered(), **{"batch_size": 2, **options})


def test_bad_sources():
    with pytest.raises(DataError, match="source is empty: it must hold at least one image"):
        instance_pipeline(Numbered(0), 1)

    class Wrong(Numbered):
        def load(self, index):
            image, instances = super().load(index)
            return image[:4], instances

    text = r"00000: load\(\) must give an image \(8, 12, 3\) and instances of its size, got \(4, 12, 3\) and \(8, 12\)"
    with pytest.raises(tf.errors.InvalidArgumentError, match=text):
        list(instance_pipeline(Wrong(1), 1))

    class Classes(Numbered):
        def load(self, index):
            image, instances = super().load(index)
            return image, Instances(instances.masks, instances.classes + 100, (8, 12))

    with pytest.raises(tf.errors.InvalidArgumentError, match=r"00000 has class 100, but num_classes=100 allows 0..99"):
        list(instance_pipeline(Classes(1), 1))
    with pytest.raises(ValueError, match="dtype must be 'uint8' or 'float32', got 'uint16'"):
        Numbered(1, dtype="uint16")
    with pytest.raises(NotImplementedError, match=r"InstanceSource must implement load\(index\)"):
        InstanceSource(num_classes=1).load(0)
