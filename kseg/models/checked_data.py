"""Data of every kind that `fit` takes, with labels checked on the way to the model."""

from __future__ import annotations

import inspect

import keras
import numpy as np
import tensorflow as tf


def checked_data(x, y, model, *, name="y"):
    """Check arrays now, and wrap anything lazy so that each batch is checked before the model sees it.

    Args:
        x: images, or a `tf.data.Dataset`, `keras.utils.PyDataset` or generator of `(x, y)` or `(x, y, sample_weight)`.
        y: labels if `x` holds images, else None.
        model: the `SegmentationModel` that the data is for.
        name: what errors call the labels.

    Returns:
        What to pass on in place of `x`: `x` itself for arrays.

    Raises:
        ValueError: labels in memory that are out of range or do not fit the images; a dataset whose element
            specification already shows that it cannot fit.
    """
    if isinstance(x, tf.data.Dataset):
        return _checked_dataset(x, model, name)
    if isinstance(x, keras.utils.PyDataset):
        return _CheckedPyDataset(x, model.batch_check())
    if inspect.isgenerator(x):
        return _checked_generator(x, model.batch_check())
    if y is not None:
        check_batch(x, y, model, name=name)
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
    if _is_array(x):
        model.range_check.check_array(x)
    if not isinstance(x, tf.data.Dataset) or not model.range_check.pending:
        return x
    spec = x.element_spec[0] if isinstance(x.element_spec, tuple) else x.element_spec
    if not isinstance(spec, tf.TensorSpec) or not spec.dtype.is_floating:
        return x

    def check(index, element):
        if isinstance(element, tuple):
            return (model.range_check.check_first(index, element[0]), *element[1:])
        return model.range_check.check_first(index, element)

    return x.enumerate().map(check)


def check_batch(x, y, model, *, name="y"):
    """Check images and labels that are in memory.

    Raises:
        ValueError: labels out of range, of floating dtype, or of another size than the images.
    """
    if not (_is_array(x) and _is_array(y)):
        return
    model.check_label_size(tuple(x.shape), tuple(y.shape), name=name)
    model.label_check.check_array(y, name)
    model.range_check.check_array(x)


def _is_array(value):
    return isinstance(value, np.ndarray) or (tf.is_tensor(value) and hasattr(value, "numpy"))


def _checked_dataset(dataset, model, name):
    spec = dataset.element_spec
    if not (isinstance(spec, tuple) and len(spec) >= 2 and all(isinstance(s, tf.TensorSpec) for s in spec[:2])):
        if isinstance(spec, tf.TensorSpec) or (isinstance(spec, tuple) and len(spec) == 1):
            raise ValueError(
                "the dataset must yield (image, label) or (image, label, sample_weight); its elements are images "
                f"only: {spec}"
            )
        return dataset
    image, label = spec[:2]
    model.label_check.check_dtype(np.dtype(label.dtype.as_numpy_dtype), f"{name} (the labels of the dataset)")
    if image.shape.rank is not None and label.shape.rank is not None:
        model.check_label_size(tuple(image.shape), tuple(label.shape), name=name)

    def check_labels(images, labels, *rest):
        labels = model.label_check.check_tensor(labels, name)
        return (images, model.check_label_size_tensor(images, labels), *rest)

    if not (model.range_check.pending and image.dtype.is_floating):
        return dataset.map(check_labels)

    def check_both(index, elements):
        images, labels, *rest = elements
        return check_labels(model.range_check.check_first(index, images), labels, *rest)

    return dataset.enumerate().map(check_both)


def _checked_generator(generator, check):
    for batch in generator:
        check(batch)
        yield batch


class BatchCheck:
    """Checks `(x, y, ...)` batches of arrays; holds no model, so that worker processes can receive it.

    Args:
        label_check: `LabelCheck`.
        range_check: `RangeCheck`.
    """

    def __init__(self, label_check, range_check):
        self.label_check = label_check
        self.range_check = range_check

    def __call__(self, batch):
        if isinstance(batch, (tuple, list)) and len(batch) >= 2 and _is_array(batch[0]) and _is_array(batch[1]):
            self.label_check.check_array(batch[1])
            self.range_check.check_array(batch[0])


class _CheckedPyDataset(keras.utils.PyDataset):
    """A PyDataset whose batches are checked as they are made."""

    def __init__(self, inner, check):
        super().__init__(
            workers=inner.workers, use_multiprocessing=inner.use_multiprocessing, max_queue_size=inner.max_queue_size
        )
        self.inner = inner
        self.check = check

    @property
    def num_batches(self):
        return self.inner.num_batches

    def __getitem__(self, index):
        batch = self.inner[index]
        self.check(batch)
        return batch

    def on_epoch_begin(self):
        # Newer than the oldest supported Keras.
        begin = getattr(self.inner, "on_epoch_begin", None)
        if begin is not None:
            begin()

    def on_epoch_end(self):
        self.inner.on_epoch_end()
