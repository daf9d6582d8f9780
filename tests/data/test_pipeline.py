"""The tf.data pipeline: purity, order, sizes, errors."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from kseg.data import Augment, CellsSource, DataError, Source, Subset, cells, pipeline


class Numbered(Source):
    """Image `index` holds the value `index`; the mask too. Sizes may vary; loads are counted."""

    def __init__(self, count=10, sizes=((8, 6),), dtype=np.uint8, ignore_index=255):
        super().__init__(channels=2, num_classes=200, ignore_index=ignore_index)
        self.count, self.shapes, self.dtype, self.loaded = count, sizes, dtype, []

    def __len__(self):
        return self.count

    def load(self, index):
        self.loaded.append(index)
        shape = self.shapes[index % len(self.shapes)]
        return np.full((*shape, 2), index, self.dtype), np.full(shape, index, np.uint8)


def order_of(dataset):
    return [int(value) for _, mask in dataset for value in mask.numpy()[:, 0, 0]]


def arrays(dataset):
    return [(image.numpy(), mask.numpy()) for image, mask in dataset]


def assert_same(one, other):
    assert len(one) == len(other)
    for (image, mask), (image2, mask2) in zip(one, other, strict=True):
        assert image.tobytes() == image2.tobytes()
        assert mask.tobytes() == mask2.tobytes()


STRONG = Augment(flip="both", rotate=30, rotate90=True, scale=0.2, elastic=2, brightness=0.1, contrast=0.2, noise=0.05)


def test_elements():
    dataset = pipeline(Numbered(), 4)
    image, mask = dataset.element_spec
    assert image.dtype == tf.float32
    assert image.shape.as_list() == [None, None, None, 2]
    assert mask.dtype == tf.int32
    assert mask.shape.as_list() == [None, None, None]
    assert int(dataset.cardinality()) == 3
    assert order_of(dataset) == list(range(10))
    assert [len(mask) for _, mask in dataset] == [4, 4, 2]
    assert int(pipeline(Numbered(), 4, drop_remainder=True).cardinality()) == 2
    assert pipeline(Numbered(), 4, drop_remainder=True).element_spec[0].shape[0] == 4
    assert pipeline(CellsSource(3, (32, 48)), 2).element_spec[0].shape.as_list() == [None, 32, 48, 1]


def test_sixteen_bits_are_not_scaled():
    class Deep(Numbered):
        def load(self, index):
            image, mask = super().load(index)
            return image.astype(np.uint16) + 65500, mask

    image, _ = next(iter(pipeline(Deep(), 2)))
    assert image.numpy().max() == 65501


def test_order_is_a_function_of_seed_and_epoch():
    def order(**options):
        return order_of(pipeline(Numbered(40), 8, shuffle=True, **options))

    assert sorted(order(epoch=0)) == list(range(40))
    assert order(epoch=3) == order(epoch=3)
    assert len({tuple(order(epoch=e, seed=s)) for e in range(3) for s in range(3)}) == 9


def test_without_epoch_each_pass_is_the_next_epoch():
    dataset = pipeline(Numbered(20), 4, shuffle=True, augment=STRONG, crop_size=5, seed=9)
    for epoch in range(3):
        assert_same(
            arrays(dataset),
            arrays(pipeline(Numbered(20), 4, shuffle=True, augment=STRONG, crop_size=5, seed=9, epoch=epoch)),
        )
    # What does not change is not renumbered: an evaluation set is the same on every pass.
    fixed = pipeline(Numbered(20), 4)
    assert_same(arrays(fixed), arrays(fixed))


@pytest.mark.parametrize("start", [0, 1, 4, 7])
def test_resumed_epoch_is_bit_identical_to_the_tail(start):
    options = {"shuffle": True, "augment": STRONG, "crop_size": (24, 20), "seed": 3, "epoch": 5}
    source = CellsSource(20, 32, seed=1)
    whole = arrays(pipeline(source, 3, **options))
    tail = pipeline(source, 3, start_batch=start, **options)
    assert int(tail.cardinality()) == 7 - start
    assert_same(arrays(tail), whole[start:])


def test_resuming_loads_nothing_before():
    source = Numbered(20)
    list(pipeline(source, 4, epoch=0, start_batch=3))
    assert sorted(source.loaded) == list(range(12, 20))


def test_same_in_another_process():
    # Another process also means other threads and another hash seed of Python.
    code = (
        "import hashlib, kseg.data as d\n"
        "a = d.Augment(flip='both', rotate=30, elastic=2, noise=0.05)\n"
        "h = hashlib.sha256()\n"
        "for x, y in d.cells(6, 2, 32, seed=2, shuffle=True, augment=a, epoch=1): h.update(x.numpy().tobytes() + "
        "y.numpy().tobytes())\n"
        "print(h.hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()[-1]
    augment = Augment(flip="both", rotate=30, elastic=2, noise=0.05)
    here = hashlib.sha256()
    for image, mask in cells(6, 2, 32, seed=2, shuffle=True, augment=augment, epoch=1):
        here.update(image.numpy().tobytes() + mask.numpy().tobytes())
    assert there == here.hexdigest()


def test_cache_loads_once_and_belongs_to_the_source():
    source = Numbered(6)
    for epoch in range(3):
        list(pipeline(source, 2, shuffle=True, epoch=epoch, cache=True))
    assert sorted(source.loaded) == list(range(6))
    plain = pipeline(Numbered(6), 2, shuffle=True, epoch=1)
    assert_same(arrays(pipeline(source, 2, shuffle=True, epoch=1, cache=True)), arrays(plain))


def test_crops():
    class Ramp(Numbered):
        def load(self, index):
            mask = np.arange(100, dtype=np.uint8).reshape(10, 10)
            return np.repeat(mask[..., None], 2, -1), mask

    centre = arrays(pipeline(Ramp(3), 3, crop_size=(4, 6)))[0]
    np.testing.assert_array_equal(centre[1][0], np.arange(100).reshape(10, 10)[3:7, 2:8])
    np.testing.assert_array_equal(centre[0][0, ..., 0], centre[1][0])
    corners = set()
    for seed, random in enumerate(({"shuffle": True}, {"random_crop": True}, {"augment": Augment(flip=None)})):
        for image, mask in pipeline(Ramp(60), 20, crop_size=4, seed=seed, **random):
            np.testing.assert_array_equal(image[..., 0], mask)
            corners |= set(mask.numpy()[:, 0, 0].tolist())
    # 7 x 7 places; 180 draws leave each out with probability (48/49)**180 = 2.4 %: most of them must come up.
    assert len(corners) > 40
    assert corners <= {10 * y + x for y in range(7) for x in range(7)}
    shuffled_centre = arrays(pipeline(Ramp(3), 3, crop_size=4, shuffle=True, random_crop=False))[0]
    assert (shuffled_centre[1] == np.arange(100).reshape(10, 10)[3:7, 3:7]).all()


@pytest.mark.parametrize("augment", [None, Augment()])
def test_crop_larger_than_the_image_is_padded(augment):
    image, mask = next(
        iter(pipeline(Numbered(4, ((8, 6), (5, 20)), ignore_index=77), 4, crop_size=10, augment=augment))
    )
    assert image.shape == (4, 10, 10, 2)
    assert mask.shape == (4, 10, 10)
    for index in range(4):
        real = mask.numpy()[index] != 77
        assert real.sum() == [48, 50][index % 2]
        assert (mask.numpy()[index][real] == index).all()
        assert (image.numpy()[index][~real] == 0).all()
        assert (image.numpy()[index][real] == index).all()


def test_resize():
    class Halves(Numbered):
        def load(self, index):
            mask = np.zeros((10, 20), np.uint8)
            mask[:, 10:] = 9
            return np.repeat(mask[..., None], 2, -1), mask

    image, mask = next(iter(pipeline(Halves(4), 4, size=(5, 8))))
    assert image.shape == (4, 5, 8, 2)
    assert mask.shape == (4, 5, 8)
    assert set(np.unique(mask)) == {0, 9}
    np.testing.assert_array_equal(mask[0, 0], [0, 0, 0, 0, 9, 9, 9, 9])


def test_sizes_that_differ_in_a_batch():
    message = (
        r"images of different sizes cannot share a batch: 0000\d is 8x6, 0000\d is 5x9 \(height x width\)\. Pass "
        r"crop_size=\(height, width\) or size=\(height, width\), or use batch_size=1"
    )
    source = Numbered(4, ((8, 6), (5, 9)))
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        list(pipeline(source, 4))
    assert len(arrays(pipeline(source, 1))) == 4

    class Known(Numbered):
        sizes = [(8, 6), (5, 9)]

    with pytest.raises(DataError, match=message):
        pipeline(Known(2, ((8, 6), (5, 9))), 2)
    assert pipeline(Subset(Known(2, ((8, 6), (5, 9))), [1]), 2).element_spec[1].shape.as_list() == [None, 5, 9]


def test_foreign_augmentation():
    def add_seed(image, mask, seed):
        return image + tf.random.stateless_uniform([], seed), mask

    one = arrays(pipeline(Numbered(6), 2, augment=add_seed, epoch=0))
    assert_same(one, arrays(pipeline(Numbered(6), 2, augment=add_seed, epoch=0)))
    assert one[0][0][0, 0, 0, 0] != arrays(pipeline(Numbered(6), 2, augment=add_seed, epoch=1))[0][0][0, 0, 0, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"batch_size": 2.5}, "batch_size must be an integer of at least 1, got 2.5"),
        (
            {"batch_size": 99, "drop_remainder": True},
            r"drop_remainder=True leaves no batch of the 10 samples: use at most 10",
        ),
        ({"batch_size": 2, "start_batch": 1}, "start_batch=1 needs epoch: say which epoch is resumed"),
        (
            {"batch_size": 2, "epoch": 0, "start_batch": 6},
            r"start_batch must lie in 0\.\.5 \(the batches of an epoch\), got 6",
        ),
        ({"batch_size": 2, "epoch": -1}, "epoch must be None or at least 0, got -1"),
        (
            {"batch_size": 2, "crop_size": 0},
            r"crop_size must be a number of pixels or \(height, width\), each at least 1, got 0",
        ),
        ({"batch_size": 2, "size": (3, 4, 5)}, r"size must be a number of pixels or \(height, width\)"),
    ],
)
def test_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        pipeline(Numbered(), **options)


def test_source_errors():
    with pytest.raises(DataError, match="source is empty: it must hold at least one image and mask"):
        pipeline(Numbered(0), 2)
    with pytest.raises(DataError, match=r"indices must lie in 0\.\.9, got 10"):
        Subset(Numbered(), [3, 10])

    class Flat(Numbered):
        def load(self, index):
            return np.zeros((4, 4)), np.zeros((4, 4))

    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"00000: load\(\) must give an image \(H, W, 2\) and a mask"
    ):
        list(pipeline(Flat(), 1))
    with pytest.raises(NotImplementedError, match="Source must implement __len__"):
        len(Source(channels=1, num_classes=2))


def test_keras_fit_knows_the_number_of_steps():
    import keras

    model = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Conv2D(2, 1)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    dataset = cells(6, 2, 32, shuffle=True)
    history = model.fit(dataset, epochs=2, shuffle=False, verbose=0, validation_data=cells(2, 2, 32, seed=5))
    assert len(history.history["val_loss"]) == 2
    assert history.params["steps"] == 3


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one processor loads with one thread")
def test_loading_is_threaded_with_deterministic_ops():
    # In a process of its own: there is no way back from deterministic ops.
    code = """
import threading, time
import tensorflow as tf
import kseg
tf.config.experimental.enable_op_determinism()
class Slow:
    running = most = 0
    lock = threading.Lock()
    def load(self, index):
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        time.sleep(0.1)
        with self.lock:
            self.running -= 1
        return super().load(index)
class SlowMaps(Slow, kseg.data.CellsSource):
    pass
class SlowObjects(Slow, kseg.data.CellInstancesSource):
    pass
maps, objects = SlowMaps(8, size=32), SlowObjects(kseg.data.CellsSource(8, size=32))
for dataset in (kseg.data.pipeline(maps, 2), kseg.data.instance_pipeline(objects, 2)):
    for _ in dataset:
        pass
print(maps.most, objects.most)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert min(map(int, done.stdout.split()[-2:])) > 1
    assert "use_unbounded_threadpool" not in done.stderr  # TensorFlow's complaint where it has to load in one
