"""From a source to a `tf.data.Dataset`."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from numbers import Real

import numpy as np
import tensorflow as tf

from kseg.data import hashing
from kseg.data.argument_checks import check_flag
from kseg.data.augment import Augment, crop_pair, pair_of_sizes
from kseg.data.errors import DataError
from kseg.data.source import Source


def pipeline(
    source: Source,
    batch_size: int,
    *,
    size: int | tuple[int, int] | None = None,
    crop_size: int | tuple[int, int] | None = None,
    random_crop: bool | None = None,
    augment: Callable | None = None,
    shuffle: bool = False,
    seed: int = 0,
    epoch: int | None = None,
    start_batch: int = 0,
    cache: bool = False,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Builds the batches that a model trains on or is evaluated on.

    Each sample is loaded, resized to `size`, augmented, cropped to `crop_size`, and batched; loading runs in parallel,
    in a fixed order, ahead of the training step.

    The order of the samples is a pure function of (seed, epoch), the augmentation of a sample a pure function of (seed,
    epoch, index). So the batches from `start_batch` on are bit for bit those of a pass that began at 0, and nothing
    before them is loaded. With `epoch=None` the k-th pass over the data set (counted from 0) is epoch k.

    Args:
        source: where the pairs come from.
        batch_size: samples per batch, at least 1.
        size: height and width in pixels to resize to: images bilinear with antialiasing, masks nearest. One integer
            means a square.
        crop_size: height and width in pixels to cut out. Smaller images are padded below and to the right with 0,
            and `ignore_index` in the mask.
        random_crop: True places the crop at random, False in the centre. None: at random when `shuffle` or `augment`
            is set, that is in training.
        augment: a `kseg.data.Augment`, or any callable `(image float32 (H, W, C), mask int32 (H, W), seed int32 [2])
            -> (image, mask)` made of stateless TensorFlow ops.
        shuffle: a new order in each epoch.
        seed: of order and augmentation.
        epoch: None, or the one epoch that the data set holds.
        start_batch: first batch, for resuming; needs `epoch`.
        cache: keep the decoded samples in memory. The cache belongs to `source`, and so outlives this data set.
        drop_remainder: leave out a last batch that is not full.

    Returns:
        `tf.data.Dataset` of (image float32 `(B, H, W, C)` in the sensor's range, label int32 `(B, H, W)`), of known
        cardinality, prefetched.

    Raises:
        DataError: an empty source; images of several sizes in one batch.
        TypeError, ValueError: an argument of another type or out of its range, named.
        tf.errors.InvalidArgumentError: while iterating, with the text of the `DataError` that `source.load` raised.
    """
    for name, value in (("shuffle", shuffle), ("cache", cache), ("drop_remainder", drop_remainder)):
        check_flag(name, value)
    if augment is not None and not callable(augment):
        raise TypeError(f"augment must be a kseg.data.Augment, another callable or None, got {augment!r}")
    count = len(source)
    if count == 0:
        raise DataError("source is empty: it must hold at least one image and mask")
    if not isinstance(batch_size, Real) or int(batch_size) != batch_size or batch_size < 1:
        raise ValueError(f"batch_size must be an integer of at least 1, got {batch_size}")
    batches = count // batch_size if drop_remainder else -(-count // batch_size)
    if batches == 0:
        raise ValueError(
            f"batch_size={batch_size} with drop_remainder=True leaves no batch of the {count} samples: "
            f"use at most {count}"
        )
    if epoch is None and start_batch:
        raise ValueError(f"start_batch={start_batch} needs epoch: say which epoch is resumed")
    if epoch is not None and epoch < 0:
        raise ValueError(f"epoch must be None or at least 0, got {epoch}")
    if not 0 <= start_batch <= batches:
        raise ValueError(f"start_batch must lie in 0..{batches} (the batches of an epoch), got {start_batch}")
    size = pair_of_sizes("size", size)
    crop_size = pair_of_sizes("crop_size", crop_size)
    if random_crop is None:
        random_crop = shuffle or augment is not None
    fixed_size = crop_size or (augment.crop if isinstance(augment, Augment) else None) or size
    if batch_size > 1 and fixed_size is None:
        _check_equal_sizes(source)

    # `Augment` cuts the crop out of its one resampling, so corners turned in from outside the crop are real pixels.
    if isinstance(augment, Augment):
        fused = crop_size is not None and random_crop and augment.crop is None
        augment = augment.bind(source.input_range, source.ignore_index, crop_size if fused else None)
        if fused:
            crop_size = None

    def plan(of_epoch: int) -> tuple[np.ndarray, np.ndarray]:
        order = hashing.permutation(count, seed, of_epoch) if shuffle else np.arange(count, dtype=np.int64)
        order = order[start_batch * batch_size : batches * batch_size]
        return order, hashing.sample_seeds(order, seed, of_epoch)

    changes = shuffle or augment is not None or (crop_size is not None and random_crop)
    if epoch is not None or not changes:
        dataset = tf.data.Dataset.from_tensor_slices(plan(epoch or 0))
    else:
        # The generator is called anew for each pass, so the counter counts passes.
        passes = itertools.count()
        signature = (tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, 2], tf.int32))
        dataset = tf.data.Dataset.from_generator(lambda: iter([plan(next(passes))]), output_signature=signature)
        dataset = dataset.flat_map(lambda *arrays: tf.data.Dataset.from_tensor_slices(arrays))

    load = _loader(source, cache, must_be_equal=batch_size > 1 and fixed_size is None)
    height, width = _common_size(source) if fixed_size is None else fixed_size
    padding = 0 if source.ignore_index is None else source.ignore_index

    def sample(index, sample_seed):
        image, mask = tf.numpy_function(load, [index], [tf.float32, tf.int32])
        image = tf.ensure_shape(image, (None, None, source.channels))
        mask = tf.ensure_shape(mask, (None, None))
        if size is not None:
            image = tf.image.resize(image, size, method="bilinear", antialias=True)
            mask = tf.image.resize(mask[..., None], size, method="nearest")[..., 0]
        if augment is not None:
            image, mask = augment(image, mask, seed=sample_seed)
        if crop_size is not None:
            image, mask = crop_pair(image, mask, crop_size, sample_seed if random_crop else None, padding)
        image = tf.ensure_shape(image, (height, width, source.channels))
        return image, tf.ensure_shape(mask, (height, width))

    dataset = dataset.map(sample, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    dataset = dataset.batch(batch_size, drop_remainder=drop_remainder)
    # Keras takes the number of steps from the cardinality; `flat_map` hides it.
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(batches - start_batch))
    return dataset.prefetch(tf.data.AUTOTUNE)


def _loader(source: Source, cache: bool, must_be_equal: bool) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """The function that tf.data calls in its threads: loads, checks and converts one sample."""
    get = source.load_cached if cache else source.load
    first: list[tuple[int, tuple[int, int]]] = []

    def load(index):
        index = int(index)
        image, mask = get(index)
        if image.ndim != 3 or image.shape[-1] != source.channels or mask.shape != image.shape[:2]:
            raise DataError(
                f"{source.names[index]}: load() must give an image (H, W, {source.channels}) and a mask (H, W), "
                f"got {image.shape} and {mask.shape}"
            )
        if must_be_equal:
            if not first:
                first.append((index, mask.shape))
            if mask.shape != first[0][1]:
                raise _unequal(source, *first[0], index, mask.shape)
        return np.ascontiguousarray(image, np.float32), np.ascontiguousarray(mask, np.int32)

    return load


def _unequal(source: Source, one: int, one_size, other: int, other_size) -> DataError:
    (one, one_size), (other, other_size) = sorted([(one, one_size), (other, other_size)])
    names = source.names
    return DataError(
        f"images of different sizes cannot share a batch: {names[one]} is {one_size[0]}x{one_size[1]}, {names[other]} "
        f"is {other_size[0]}x{other_size[1]} (height x width). Pass crop_size=(height, width) or size=(height, width), "
        f"or use batch_size=1"
    )


def _check_equal_sizes(source: Source) -> None:
    for index, size in enumerate(source.sizes or ()):
        if size != source.sizes[0]:
            raise _unequal(source, 0, source.sizes[0], index, size)


def _common_size(source: Source) -> tuple[int | None, int | None]:
    sizes = set(source.sizes or ())
    return sizes.pop() if len(sizes) == 1 else (None, None)
