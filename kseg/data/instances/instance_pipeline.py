"""From a source of objects to a `tf.data.Dataset`."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from kseg.data import hashing
from kseg.data.argument_checks import check_flag, check_number, check_resumption, check_whole
from kseg.data.errors import DataError, listed
from kseg.data.instances.instance_augment import InstanceAugment
from kseg.data.instances.instance_source import InstanceSource
from kseg.data.instances.instances import Instances
from kseg.data.instances.packed_masks import row_bytes
from kseg.data.instances.placement import Placement
from kseg.data.instances.size_buckets import SizeBuckets

# What torchvision's and detectron2's Mask R-CNN see of a photograph.
_MIN_SIDE, _MAX_SIDE = 800, 1333
# A batch of large images with many objects has hundreds of megabytes: few of them wait.
_PREFETCH = 2


def instance_pipeline(
    source: InstanceSource,
    batch_size: int,
    *,
    image_size: int | tuple[int, int] | Sequence[tuple[int, int]] | None = None,
    min_side: int | None = None,
    max_side: int | None = None,
    max_instances: int = 100,
    augment: Callable | None = None,
    fill: float = 0.0,
    shuffle: bool = False,
    seed: int = 0,
    epoch: int | None = None,
    start_batch: int = 0,
    cache: bool = False,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Builds the batches that a model of instance segmentation is trained on.

    Each image is resized, its shape kept, and lies in the upper left corner of a canvas; a batch holds images of one
    canvas. With several canvases (`kseg.data.SizeBuckets`) an image goes to the one on which it is drawn largest, so
    that few pixels are padding and a graph is traced for few shapes.

    The order of the batches is a pure function of (seed, epoch), a sample one of (seed, epoch, index). So the batches
    from `start_batch` on are bit for bit those of a pass that began at 0, and nothing before them is loaded. With
    `epoch=None` the k-th pass over the data set (counted from 0) is epoch k.

    Args:
        source: where images and objects come from.
        batch_size: images per batch, at least 1.
        image_size: height and width of the canvas in pixels; one integer is a square; a list of pairs makes several
            canvases. Sides should be multiples of the coarsest stride of the model, mostly 32.
        min_side: instead of `image_size`, with `max_side`: the shorter side of an image becomes `min_side` pixels long,
            unless the longer one came to exceed `max_side`. The canvases are those of `SizeBuckets.of_sides`.
        max_side: see `min_side`. With none of the three, images that all have one size keep it; others are given
            `min_side=800, max_side=1333`.
        max_instances: N, to which the objects of an image are padded. Of an image that has more, those with the most
            pixels are taken; a warning counts such images where the source knows.
        augment: a `kseg.data.InstanceAugment`, or any callable `(image (H, W, C), Instances, seed int32 [2]) -> (image,
            Instances)` on NumPy arrays, called in the pipeline's threads before the image is resized.
        fill: value of the padding of images.
        shuffle: a new order in each epoch.
        seed: of order and augmentation.
        epoch: None, or the one epoch that the data set holds.
        start_batch: first batch, for resuming; needs `epoch`.
        cache: keep the decoded samples in memory, masks packed. The cache belongs to `source`.
        drop_remainder: leave out the last batch of each canvas where it is not full.

    Returns:
        `tf.data.Dataset` of (images, targets), of known cardinality, prefetched. images: `(B, H, W, C)`, uint8 (float32
        for sources of another dtype), in the sensor's range. targets: a dict of

        - "boxes": float32 `(B, N, 4)`, x1 y1 x2 y2 in pixels;
        - "classes": int32 `(B, N)`, 0..num_classes-1, -1 for padding;
        - "masks": uint8 `(B, N, H, ceil(W / 8))`, a bit per pixel (`kseg_ops.unpack_masks`);
        - "crowd": bool `(B, N)`;
        - "sizes": int32 `(B, 2)`, height and width of the part of an image that is not padding;
        - "image_ids": int64 `(B,)`, of `source.image_ids`.

        H and W are static with one canvas, B is where all batches are full.

    Raises:
        DataError: an empty source.
        TypeError, ValueError: an argument of another type or out of its range, named.
        tf.errors.InvalidArgumentError: while iterating, with the text of the `DataError` that `source.load` raised.

    Example:
        >>> source = kseg.data.CocoSource("images", "instances.json")
        >>> dataset = kseg.data.instance_pipeline(source, 2, min_side=480, max_side=640, shuffle=True)
    """
    for name, value in (("shuffle", shuffle), ("cache", cache), ("drop_remainder", drop_remainder)):
        check_flag(name, value)
    if augment is not None and not callable(augment):
        raise TypeError(f"augment must be a kseg.data.InstanceAugment, another callable or None, got {augment!r}")
    for name, value in (("batch_size", batch_size), ("max_instances", max_instances)):
        check_whole(name, value, "an integer of at least 1", 1)
    check_number("fill", fill, *source.input_range)
    if len(source) == 0:
        raise DataError("source is empty: it must hold at least one image")
    buckets = _buckets(source, image_size, min_side, max_side)
    bucket_of = np.array([buckets.choose(size) for size in source.sizes])
    in_bucket = np.bincount(bucket_of, minlength=len(buckets.sizes))
    batches = int((in_bucket // batch_size if drop_remainder else -(-in_bucket // batch_size)).sum())
    if batches == 0:
        raise ValueError(
            f"batch_size={batch_size} with drop_remainder=True leaves no batch: the canvases hold at most "
            f"{in_bucket.max()} images"
        )
    check_resumption(epoch, start_batch, batches)
    _warn_of_crowded(source, max_instances)

    def plan(of_epoch: int) -> tuple[np.ndarray, ...]:
        order = hashing.permutation(len(source), seed, of_epoch) if shuffle else np.arange(len(source))
        cut = _cut_batches(order, bucket_of, batch_size, drop_remainder)
        if shuffle:
            cut = cut[hashing.permutation(len(cut), seed, of_epoch, hashing.BATCH_STREAM)]
        cut = cut[start_batch:]
        # The first of a batch is no filler.
        canvases = np.repeat(bucket_of[cut[:, 0]], batch_size)
        indices = cut.ravel()
        return indices, canvases, hashing.sample_seeds(indices, seed, of_epoch)

    if epoch is not None or not (shuffle or augment is not None):
        dataset = tf.data.Dataset.from_tensor_slices(plan(epoch or 0))
    else:
        # The generator is called anew for each pass, so the counter counts passes.
        passes = itertools.count()
        signature = (
            tf.TensorSpec([None], tf.int64),
            tf.TensorSpec([None], tf.int64),
            tf.TensorSpec([None, 2], tf.int32),
        )
        dataset = tf.data.Dataset.from_generator(lambda: iter([plan(next(passes))]), output_signature=signature)
        dataset = dataset.flat_map(lambda *arrays: tf.data.Dataset.from_tensor_slices(arrays))

    load = _loader(source, buckets, max_instances, augment, fill, cache)
    used = {buckets.sizes[index] for index in np.flatnonzero(in_bucket)}
    height, width = next(iter(used)) if len(used) == 1 else (None, None)
    shapes = {
        "boxes": [None, 4],
        "classes": [None],
        "masks": [None, height, None if width is None else row_bytes(width)],
        "crowd": [None],
        "sizes": [2],
        "image_ids": [],
    }
    padded = {name: [max_instances, *shape[1:]] if shape[:1] == [None] else shape for name, shape in shapes.items()}
    padding = {name: np.zeros((), dtype) for name, dtype in _DTYPES.items()}
    padding["classes"] -= 1

    def sample(index, canvas, sample_seed):
        # Stateless: its result depends on nothing else. Else deterministic ops would mean one thread for the loading.
        image, *rest = tf.numpy_function(
            load, [index, canvas, sample_seed], [source.dtype, *_DTYPES.values()], stateful=False
        )
        image = tf.ensure_shape(image, (height, width, source.channels))
        # As many instances as the image has: `padded_batch` copies them once, to where the batch lies.
        targets = {name: tf.ensure_shape(one, shapes[name]) for name, one in zip(_DTYPES, rest, strict=True)}
        return index >= 0, image, targets

    full = drop_remainder or not (in_bucket % batch_size).any()

    def without_fillers(real, image, targets):
        if full:
            return image, targets
        count = tf.math.count_nonzero(real)
        return image[:count], {name: value[:count] for name, value in targets.items()}

    dataset = dataset.map(sample, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    dataset = dataset.padded_batch(
        batch_size,
        ([], [height, width, source.channels], padded),
        (False, np.zeros((), source.dtype), padding),
        drop_remainder=True,
    )
    dataset = dataset.map(without_fillers)
    # Keras takes the number of steps from the cardinality; `flat_map` hides it.
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(batches - start_batch))
    return dataset.prefetch(_PREFETCH)


_DTYPES = {
    "boxes": np.float32,
    "classes": np.int32,
    "masks": np.uint8,
    "crowd": np.bool_,
    "sizes": np.int32,
    "image_ids": np.int64,
}


def _buckets(source: InstanceSource, image_size, min_side, max_side) -> SizeBuckets:
    if image_size is None and min_side is None and max_side is None:
        sizes = set(source.sizes)
        if len(sizes) == 1:
            return SizeBuckets([sizes.pop()])
        min_side, max_side = _MIN_SIDE, _MAX_SIDE
    return SizeBuckets.of(image_size, min_side, max_side)


def _warn_of_crowded(source: InstanceSource, max_instances: int) -> None:
    if source.counts is None:
        return
    names = source.names
    over = [f"{names[k]} ({count})" for k, count in enumerate(source.counts) if count > max_instances]
    if over:
        warnings.warn(
            f"{len(over)} of {len(source)} images have more than max_instances={max_instances} objects: "
            f"{listed(over)}. Only the largest are taken; raise max_instances to take all",
            stacklevel=3,
        )


def _cut_batches(order: np.ndarray, bucket_of: np.ndarray, batch_size: int, drop_remainder: bool) -> np.ndarray:
    """int64 `[batches, batch_size]` of indices that share a bucket, sorted by where in `order` a batch begins.

    Batches that are not full end with -1.
    """
    cut, begins = [], []
    buckets = bucket_of[order]
    for bucket in np.unique(buckets):
        positions = np.flatnonzero(buckets == bucket)
        if drop_remainder:
            positions = positions[: len(positions) // batch_size * batch_size]
        begins.append(positions[::batch_size])
        members = np.full(len(begins[-1]) * batch_size, -1, np.int64)
        members[: len(positions)] = order[positions]
        cut.append(members.reshape(-1, batch_size))
    return np.concatenate(cut)[np.argsort(np.concatenate(begins), kind="stable")]


def _loader(
    source: InstanceSource, buckets: SizeBuckets, max_instances: int, augment, fill: float, cache: bool
) -> Callable:
    """The function that tf.data calls in its threads: one sample, its objects not padded yet."""
    get = source.load_cached if cache else source.load
    sizes, image_ids = source.sizes, source.image_ids

    def load_checked(index: int) -> tuple[np.ndarray, Instances]:
        image, instances = get(index)
        expected = (*sizes[index], source.channels)
        if image.shape != expected or instances.size != expected[:2]:
            raise DataError(
                f"{source.names[index]}: load() must give an image {expected} and instances of its size, got "
                f"{image.shape} and {instances.size}"
            )
        if source.dtype == "uint8" and image.dtype != np.uint8:
            raise DataError(
                f"{source.names[index]} is {image.dtype}, but the source says that its images are uint8: say "
                "dtype='float32'"
            )
        wrong = instances.classes >= source.num_classes
        if wrong.any():
            raise DataError(
                f"{source.names[index]} has class {instances.classes[wrong][0]}, but num_classes={source.num_classes} "
                f"allows 0..{source.num_classes - 1}"
            )
        return image.astype(source.dtype, copy=False), instances

    def load(index, canvas, seed):
        index, canvas = int(index), buckets.sizes[int(canvas)]
        if index < 0:
            return _as_arrays(np.zeros((*canvas, source.channels), source.dtype), _nothing(canvas), canvas, -1)
        image, instances = load_checked(index)

        def fit(size):
            return buckets.scale(size, canvas)

        if isinstance(augment, InstanceAugment):
            image, instances, valid = augment(
                image,
                instances,
                seed,
                size=canvas,
                fit=fit,
                other=lambda at: load_checked(int(at * len(source))),
                fill=fill,
                input_range=source.input_range,
            )
        else:
            if augment is not None:
                image, instances = _as_pair(augment(image, instances, seed), augment)
                image = np.asarray(image, source.dtype)
            place = Placement.scaled(instances.size, fit(instances.size), canvas)
            image, instances, valid = place.image(image, fill), place.instances(instances), place.size
        return _as_arrays(image, instances.largest(max_instances), valid, image_ids[index])

    return load


def _as_pair(changed, augment) -> tuple[np.ndarray, Instances]:
    if not isinstance(changed, tuple) or len(changed) != 2 or not isinstance(changed[1], Instances):
        got = f"({', '.join(type(part).__name__ for part in changed)})" if isinstance(changed, tuple) else repr(changed)
        raise DataError(f"augment must return (image, Instances), got {got:.80} from {augment!r}")
    image, instances = changed
    if np.shape(image)[:2] != instances.size:
        raise DataError(
            f"augment must return instances of the image's size, got an image {np.shape(image)} and instances of "
            f"{instances.size} from {augment!r}"
        )
    return changed


def _nothing(canvas: tuple[int, int]) -> Instances:
    return Instances(np.zeros((0, canvas[0], row_bytes(canvas[1])), np.uint8), np.zeros(0, np.int32), canvas)


def _as_arrays(image: np.ndarray, instances: Instances, valid: tuple[int, int], image_id: int) -> tuple:
    return (
        image,
        instances.boxes.astype(np.float32),
        instances.classes,
        instances.masks,
        instances.crowd,
        np.array(valid, np.int32),
        np.int64(image_id),
    )
