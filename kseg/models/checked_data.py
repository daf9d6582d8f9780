"""Data of every kind that `fit` takes, with labels checked on the way to the model."""

from __future__ import annotations

import inspect
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kseg.models import value_check


class Names(NamedTuple):
    """What errors call the data."""

    images: str = "x"
    labels: str = "y"
    weights: str = "sample_weight"


TRAINING = Names()
VALIDATION = Names("validation_data", "validation_data", "sample_weight of validation_data")


def checked_data(x, y, model, *, sample_weight=None, names=TRAINING):
    """Check arrays now, and wrap anything lazy so that each batch is checked before the model sees it.

    Args:
        x: images, also in a list or dict, or a `tf.data.Dataset`, `keras.utils.PyDataset` or generator of `(x, y)` or
            `(x, y, sample_weight)`.
        y: labels if `x` holds images, else None.
        model: the `SegmentationModel` that the data is for.
        sample_weight: weights if `x` holds images, or None.
        names: what errors call the data.

    Returns:
        What to pass on in place of `x`: `x` itself for arrays.

    Raises:
        TypeError: images that are no real numbers.
        ValueError: labels in memory that are out of range or do not fit the images, images that do not fit the model
            or are not finite, images without labels, weights that are negative, not finite or of another shape; a
            dataset whose element specification already shows that it cannot fit.
    """
    if isinstance(x, tf.data.Dataset):
        return _checked_dataset(x, model, names)
    if isinstance(x, keras.utils.PyDataset):
        return _CheckedPyDataset(x, model.batch_check(), names)
    if inspect.isgenerator(x):
        return _checked_generator(x, model.batch_check(), names)
    if y is not None or _only_array(x) is not None:
        check_batch(x, y, model, sample_weight=sample_weight, names=names)
    # Anything else (distributed datasets, loaders of other frameworks) passes as it is: TensorFlow offers no way to
    # map it. The losses and metrics check labels in the step, unless XLA compiles it.
    return x


def range_checked_images(x, model):
    """Images for `predict`, or a dataset that has them, looked at for the range that they are in.

    Args:
        x: images, or a dataset of images, `(images,)`, `(images, labels)` and so on.
        model: the `SegmentationModel`.

    Returns:
        What to pass on in place of `x`.
    """
    images = _only_array(x)
    if images is not None:
        model.size_check().check_images(images.shape)
        model.range_check.check_array(images)
    if not isinstance(x, tf.data.Dataset) or not model.range_check.pending:
        return x
    spec = _only_leaf(x.element_spec[0] if isinstance(x.element_spec, tuple) else x.element_spec)
    if not isinstance(spec, tf.TensorSpec) or not spec.dtype.is_floating:
        return x

    def check(index, element):
        def look(images):
            return tf.nest.map_structure(lambda tensor: model.range_check.check_first(index, tensor), images)

        return (look(element[0]), *element[1:]) if isinstance(element, tuple) else look(element)

    return x.enumerate().map(check)


def check_batch(x, y, model, *, sample_weight=None, names=TRAINING):
    """Check images, labels and weights that are in memory.

    Raises:
        TypeError: images that are no real numbers.
        ValueError: labels that are missing, out of range, of floating dtype, or of another size than the images;
            images or weights as in `checked_data`.
    """
    if y is None:
        raise ValueError(
            f"y is missing: {names.images} holds images alone, and training or evaluation on them needs integer labels "
            "of shape (batch, height, width)"
        )
    model.batch_check()((x, y, sample_weight), names)


def _is_array(value):
    return isinstance(value, np.ndarray) or (hasattr(value, "__array__") and hasattr(value, "shape"))


def _only_leaf(value):
    """The only element of lists, tuples and dicts, however deep: `{"images": x}` and `[x]` hold what `x` holds."""
    leaves = tf.nest.flatten(value)
    return leaves[0] if len(leaves) == 1 else None


def _only_array(value):
    leaf = _only_leaf(value)
    return leaf if _is_array(leaf) else None


def _checked_dataset(dataset, model, names):
    name = names.labels
    spec = dataset.element_spec
    if not (isinstance(spec, tuple) and len(spec) >= 2):
        if isinstance(spec, tf.TensorSpec) or (isinstance(spec, tuple) and len(spec) == 1):
            raise ValueError(
                "the dataset must yield (image, label) or (image, label, sample_weight); its elements are images "
                f"only: {spec}"
            )
        return dataset
    image, label = _only_leaf(spec[0]), _only_leaf(spec[1])
    if not isinstance(label, tf.TensorSpec):
        return dataset
    if not isinstance(image, tf.TensorSpec):
        image = None  # a model of several inputs: their sizes say nothing about the labels
    images_name = f"{names.images} (the images of the dataset)"
    sizes = model.size_check()
    has_maps = model.label_check.has_maps(label.shape, label.dtype)
    if not has_maps:
        model.label_check.check_dtype(np.dtype(label.dtype.as_numpy_dtype), f"{name} (the labels of the dataset)")
    image_shape = None
    if image is not None and image.shape.rank is not None:
        image_shape = tuple(image.shape)
        sizes.check_images(image_shape, images_name)
    if label.shape.rank is not None:
        label_shape = (*label.shape[:3], 1) if has_maps else tuple(label.shape)
        sizes.check_labels(image_shape, label_shape, name=name)
        weight = _only_leaf(spec[2]) if len(spec) > 2 else None
        if isinstance(weight, tf.TensorSpec) and weight.shape.rank is not None:
            sizes.check_weights(image_shape, label_shape, tuple(weight.shape), name=names.weights)

    def check_labels(images, labels, *rest):
        tensor = None
        if image is not None:
            tensor = value_check.checked_tensor(sizes.images_tensor(_only_leaf(images), images_name), images_name)
            images = tf.nest.pack_sequence_as(images, [tensor])
        checked = model.label_check.check_tensor(_only_leaf(labels), name)
        checked = sizes.labels_tensor(tensor, checked, name=name)
        if rest and isinstance(_only_leaf(rest[0]), tf.Tensor):
            weights = value_check.checked_tensor(_only_leaf(rest[0]), names.weights, negative=False)
            rest = (tf.nest.pack_sequence_as(rest[0], [weights]), *rest[1:])
        return (images, tf.nest.pack_sequence_as(labels, [checked]), *rest)

    if image is None or not (model.range_check.pending and image.dtype.is_floating):
        return dataset.map(check_labels)

    def check_both(index, elements):
        images, labels, *rest = elements
        images = tf.nest.map_structure(lambda tensor: model.range_check.check_first(index, tensor), images)
        return check_labels(images, labels, *rest)

    return dataset.enumerate().map(check_both)


def _checked_generator(generator, check, names):
    for batch in generator:
        check(batch, names)
        yield batch


class BatchCheck:
    """Checks `(x, y)` and `(x, y, sample_weight)` batches of arrays; holds no model, so that processes can receive it.

    Args:
        label_check: `LabelCheck`.
        range_check: `RangeCheck`.
        size_check: `SizeCheck`.
    """

    def __init__(self, label_check, range_check, size_check):
        self.label_check = label_check
        self.range_check = range_check
        self.size_check = size_check

    def __call__(self, batch, names=TRAINING):
        if not isinstance(batch, (tuple, list)) or len(batch) < 2:
            return
        images, labels, image_shape = _only_array(batch[0]), _only_array(batch[1]), None
        if images is not None:
            image_shape = tuple(images.shape)
            self.size_check.check_images(image_shape, names.images)
        if labels is not None:  # whatever the images are: XLA drops the check in the loss
            plain = self.label_check.without_maps(labels)
            self.size_check.check_labels(image_shape, plain.shape, name=names.labels)
            self.label_check.check_array(labels, names.labels)
            weights = _only_array(batch[2]) if len(batch) > 2 else None
            if weights is not None:
                value_check.check_array(weights, names.weights, negative=False)
                self.size_check.check_weights(image_shape, plain.shape, tuple(weights.shape), name=names.weights)
        if images is not None:
            value_check.check_array(images, names.images)
            self.range_check.check_array(images)


class _CheckedPyDataset(keras.utils.PyDataset):
    """A PyDataset whose batches are checked as they are made."""

    def __init__(self, inner, check, names):
        super().__init__(
            workers=inner.workers, use_multiprocessing=inner.use_multiprocessing, max_queue_size=inner.max_queue_size
        )
        self.inner = inner
        self.check = check
        self.names = names

    @property
    def num_batches(self):
        return self.inner.num_batches

    def __getitem__(self, index):
        batch = self.inner[index]
        self.check(batch, self.names)
        return batch

    def on_epoch_begin(self):
        # Newer than the oldest supported Keras.
        begin = getattr(self.inner, "on_epoch_begin", None)
        if begin is not None:
            begin()

    def on_epoch_end(self):
        self.inner.on_epoch_end()
