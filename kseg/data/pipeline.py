"""From a source to a `tf.data.Dataset`."""

from __future__ import annotations

import inspect
import itertools
import os
from collections.abc import Callable, Sequence
from numbers import Real

import numpy as np
import tensorflow as tf

from kseg.data import hashing
from kseg.data.argument_checks import check_flag, check_resumption
from kseg.data.augment import Augment
from kseg.data.crop_place import CropPlace
from kseg.data.cropping import crop_maps, pair_of_sizes, uniform_place
from kseg.data.errors import DataError
from kseg.data.sample_weights import SampleWeights
from kseg.data.source import Source


def pipeline(
    source: Source,
    batch_size: int,
    *,
    size: int | tuple[int, int] | None = None,
    crop_size: int | tuple[int, int] | None = None,
    random_crop: bool | CropPlace | None = None,
    augment: Callable | None = None,
    weights: str | os.PathLike | Callable | Sequence[float] | None = None,
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
        random_crop: True places the crop at random, False in the centre; a `kseg.data.ClassBalancedCrop` or
            `kseg.data.ForegroundCrop` around pixels of chosen classes. None: at random when `shuffle` or `augment` is
            set, that is in training.
        augment: a `kseg.data.Augment`, or any callable `(image float32 (H, W, C), mask int32 (H, W), seed int32 [2])
            -> (image, mask)` made of stateless TensorFlow ops. For weights per pixel it must take `weights=` too, and
            return them third.
        weights: weights of the samples in the loss. A folder: one file per image of the same stem, a float TIFF, a
            `.npy` or a PNG (its numbers are the weights), one number per pixel. A function of the labels, NumPy int32
            `(H, W)` as loaded, to numbers of the same shape (or one number for the whole image); called in the
            pipeline's threads. Either is resized, turned, cropped and so on in step with the labels, each weight with
            its label; pixels from outside weigh 0. Or one number per sample, in the order of `source`: those stay one
            per image.
        shuffle: a new order in each epoch.
        seed: of order and augmentation.
        epoch: None, or the one epoch that the data set holds.
        start_batch: first batch, for resuming; needs `epoch`.
        cache: keep the decoded samples in memory. The cache belongs to `source`, and so outlives this data set; that of
            weights does not.
        drop_remainder: leave out a last batch that is not full.

    Returns:
        `tf.data.Dataset` of (image float32 `(B, H, W, C)` in the sensor's range, label int32 `(B, H, W)`), and with
        `weights` third these, float32 `(B, H, W)` or `(B,)`, which `fit` takes as sample weights; of known cardinality,
        prefetched.

    Raises:
        DataError: an empty source; images of several sizes in one batch; weights without a file for each sample.
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
    check_resumption(epoch, start_batch, batches)
    size = pair_of_sizes("size", size)
    crop_size = pair_of_sizes("crop_size", crop_size)
    if random_crop is None:
        random_crop = shuffle or augment is not None
    _check_random_crop(random_crop, crop_size, augment)
    if weights is not None:
        weights = SampleWeights(weights, source)
        _check_carries_weights(augment, weights)
    fixed_size = crop_size or (augment.crop if isinstance(augment, Augment) else None) or size
    if batch_size > 1 and fixed_size is None:
        _check_equal_sizes(source)

    place = random_crop.bind(source.num_classes, source.ignore_index) if isinstance(random_crop, CropPlace) else None
    if random_crop is True:
        place = uniform_place
    # `Augment` cuts the crop out of its one resampling, so corners turned in from outside the crop are real pixels.
    if isinstance(augment, Augment):
        fused = crop_size is not None and place is not None and augment.crop is None
        within = place if fused or augment.crop else None
        augment = augment.bind(source.input_range, source.ignore_index, crop_size if fused else None, within)
        if fused:
            crop_size = None

    def plan(of_epoch: int) -> tuple[np.ndarray, np.ndarray]:
        order = hashing.permutation(count, seed, of_epoch) if shuffle else np.arange(count, dtype=np.int64)
        order = order[start_batch * batch_size : batches * batch_size]
        return order, hashing.sample_seeds(order, seed, of_epoch)

    changes = shuffle or augment is not None or (crop_size is not None and place is not None)
    if epoch is not None or not changes:
        dataset = tf.data.Dataset.from_tensor_slices(plan(epoch or 0))
    else:
        # The generator is called anew for each pass, so the counter counts passes.
        passes = itertools.count()
        signature = (tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, 2], tf.int32))
        dataset = tf.data.Dataset.from_generator(lambda: iter([plan(next(passes))]), output_signature=signature)
        dataset = dataset.flat_map(lambda *arrays: tf.data.Dataset.from_tensor_slices(arrays))

    load = _loader(source, cache, weights, must_be_equal=batch_size > 1 and fixed_size is None)
    loaded = [tf.float32, tf.int32] if weights is None else [tf.float32, tf.int32, tf.float32]
    weighted_pixels = weights is not None and weights.per_pixel
    height, width = _common_size(source) if fixed_size is None else fixed_size
    padding = 0 if source.ignore_index is None else source.ignore_index

    def sample(index, sample_seed):
        # Stateless: its result depends on nothing else. Else deterministic ops would mean one thread for the loading.
        image, *maps = tf.numpy_function(load, [index], loaded, stateful=False)
        image = tf.ensure_shape(image, (None, None, source.channels))
        per_image = [] if weights is None or weighted_pixels else [tf.ensure_shape(maps.pop(), ())]
        maps = [tf.ensure_shape(one, (None, None)) for one in maps]
        if size is not None:
            image = tf.image.resize(image, size, method="bilinear", antialias=True)
            maps = [tf.image.resize(one[..., None], size, method="nearest")[..., 0] for one in maps]
        if augment is not None:
            extra = {"weights": maps[1]} if weighted_pixels else {}
            image, *maps = augment(image, maps[0], seed=sample_seed, **extra)
        if crop_size is not None:
            padded = list(zip(maps, (padding, 0.0), strict=False))
            image, maps = crop_maps(image, padded, crop_size, place, sample_seed)
        image = tf.ensure_shape(image, (height, width, source.channels))
        return (image, *(tf.ensure_shape(one, (height, width)) for one in maps), *per_image)

    dataset = dataset.map(sample, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    dataset = dataset.batch(batch_size, drop_remainder=drop_remainder)
    # Keras takes the number of steps from the cardinality; `flat_map` hides it.
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(batches - start_batch))
    return dataset.prefetch(tf.data.AUTOTUNE)


def _check_random_crop(random_crop, crop_size, augment) -> None:
    if not isinstance(random_crop, (bool, CropPlace)):
        raise TypeError(
            "random_crop must be True, False, None, a kseg.data.ClassBalancedCrop or a kseg.data.ForegroundCrop, got "
            f"{random_crop!r}"
        )
    own = augment.crop if isinstance(augment, Augment) else None
    if isinstance(random_crop, CropPlace) and crop_size is None and own is None:
        raise ValueError(f"random_crop={random_crop!r} needs crop_size: pass the height and width to cut out")


def _check_carries_weights(augment, weights: SampleWeights) -> None:
    if augment is None or isinstance(augment, Augment) or not weights.per_pixel:
        return
    try:
        parameters = inspect.signature(augment).parameters.values()
    except (TypeError, ValueError):  # of some built-in callables nothing is known
        return
    if not any(one.name == "weights" or one.kind is one.VAR_KEYWORD for one in parameters):
        raise TypeError(
            "augment must take weights=... and return (image, mask, weights), so that the weights per pixel stay in "
            f"step; {augment!r} does not. kseg.data.Augment does, and one weight per sample needs nothing"
        )


def _loader(source: Source, cache: bool, weights: SampleWeights | None, must_be_equal: bool) -> Callable:
    """The function that tf.data calls in its threads: loads, checks and converts one sample."""
    get = source.load_cached if cache else source.load
    kept: dict[int, np.ndarray] = {}
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
        image, mask = np.ascontiguousarray(image, np.float32), np.ascontiguousarray(mask, np.int32)
        if weights is None:
            return image, mask
        weight = kept[index] if index in kept else weights.load(index, mask)
        if cache:
            kept[index] = weight
        return image, mask, weight

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
