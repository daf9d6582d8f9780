"""A Keras model that checks its data before it trains on them."""

from __future__ import annotations

import contextlib

import keras
import tensorflow as tf

from kseg.models import value_check
from kseg.models.checked_data import VALIDATION, BatchCheck, check_batch, checked_data, range_checked_images
from kseg.models.label_check import LabelCheck
from kseg.models.range_check import RangeCheck
from kseg.models.size_check import SizeCheck


class CheckedModel(keras.Model):
    """A functional Keras model whose entry points check images and labels.

    `fit`, `evaluate`, `train_on_batch` and `test_on_batch` answer a label that is neither a class nor `ignore_index`
    with a ValueError that names it, also in steps that XLA compiles; labels of another size likewise. Float images
    within 0..1 given to a model that rescales 0..255 itself draw one warning.

    Args:
        inputs: the Keras input `(B, H, W, channels)`.
        outputs: the logits `(B, H, W, num_classes)`, float32.
        num_classes: number of classes; 1 is the sigmoid case.
        ignore_index: the label of void pixels, or None.
        input_range: the `(low, high)` values of the images, or None if the model does not rescale.
        margin: pixels at the top and the left of the image that have no logits; 0 for same-size models.
        **kwargs: `name`, `trainable`.
    """

    def __init__(self, inputs, outputs, *, num_classes, ignore_index, input_range, margin, **kwargs):
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.input_range = None if input_range is None else tuple(input_range)
        self.margin = margin
        self.label_check = LabelCheck(num_classes, ignore_index)
        self.range_check = RangeCheck(self.input_range)
        self._validation_x = None

    # Geometry

    def logits_size(self, height, width):
        """The height and width of the logits for an image of the given size."""
        return height, width

    def check_label_size(self, image_shape, label_shape, *, name="y"):
        """Check static shapes of images and labels; unknown dimensions (None) pass.

        Raises:
            ValueError: the labels are neither as large as the images nor as large as the logits.
        """
        self.size_check().check_labels(image_shape, label_shape, name=name)

    def size_check(self):
        """A check of the sizes of images and labels."""
        shapes = [tuple(tensor.shape) for tensor in self.inputs]
        return SizeCheck(shapes[0] if len(shapes) == 1 else None, self._size_rule())

    def _size_rule(self):
        # What `logits_size` does, for checks that worker processes receive; None if the size stays. A subclass with
        # logits of another size returns a function that can be pickled without the model.
        return self.logits_size if self.margin else None

    # Keras's entry points, with the data checked

    def batch_check(self):
        """A check of `(x, y)` batches that can be sent to worker processes."""
        return BatchCheck(self.label_check, self.range_check, self.size_check())

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle=True,
        class_weight=None,
        **kwargs,
    ):
        """Train, as `keras.Model.fit`.

        Args:
            x: images `(N, H, W, channels)` in the model's `input_range` (uint8 is fine), or a `tf.data.Dataset`,
                `keras.utils.PyDataset` or generator of `(images, labels)` or `(images, labels, sample_weight)` batches.
            y: integer labels `(N, H, W)` or `(N, H, W, 1)` if `x` is an array. Here and in datasets, what
                `kseg.losses.with_distance_maps` made of labels does as well.
            batch_size: as in Keras.
            epochs: as in Keras.
            verbose: as in Keras.
            callbacks: as in Keras.
            validation_split: as in Keras.
            validation_data: `(images, labels)`, `(images, labels, sample_weight)` or a dataset.
            shuffle: as in Keras.
            class_weight: not supported, because Keras turns it into one weight per image; see the error.
            **kwargs: everything else that Keras takes.

        Returns:
            The `keras.callbacks.History`.

        Raises:
            TypeError: images that are no real numbers.
            ValueError: a label out of range (named, with the range and the ignore index), floating labels, labels of
                another size than the images or none, images that are not finite, a `sample_weight` that is negative,
                not finite or of another shape than the labels, `class_weight`.
        """
        if class_weight is not None:
            raise ValueError(
                "class_weight weighs whole images in Keras, not pixels. Compile with "
                "kseg.losses.CrossEntropy(class_weights=[...]) instead"
            )
        x = checked_data(x, y, self, sample_weight=kwargs.get("sample_weight"))
        if y is None and not isinstance(x, keras.utils.PyDataset):
            shuffle = False  # Keras's default is True, and then warns that it cannot shuffle a dataset
        if isinstance(validation_data, (tuple, list)) and len(validation_data) >= 2:
            images, labels, *weights = validation_data
            sample_weight = weights[0] if weights else None
            checked_data(images, labels, self, sample_weight=sample_weight, names=VALIDATION)
            self._validation_x = _Reference(validation_data[0])
        elif validation_data is not None:
            validation_data = checked_data(validation_data, None, self, names=VALIDATION)
            self._validation_x = _Reference(validation_data)
        try:
            with _label_errors():
                return super().fit(
                    x,
                    y,
                    batch_size=batch_size,
                    epochs=epochs,
                    verbose=verbose,
                    callbacks=callbacks,
                    validation_split=validation_split,
                    validation_data=validation_data,
                    shuffle=shuffle,
                    **kwargs,
                )
        finally:
            self._validation_x = None

    def evaluate(self, x=None, y=None, *args, **kwargs):
        """Evaluate, as `keras.Model.evaluate`, on data of the kinds and with the errors of `fit`."""
        # `fit` evaluates on validation data that it has checked or wrapped itself, once and not in each epoch.
        if self._validation_x is None or self._validation_x.value is not x:
            weights = kwargs.get("sample_weight", args[2] if len(args) > 2 else None)  # after batch_size and verbose
            x = checked_data(x, y, self, sample_weight=weights)
        with _label_errors():
            return super().evaluate(x, y, *args, **kwargs)

    def predict(self, x, *args, **kwargs):
        """Logits of images, as `keras.Model.predict`. See `kseg.predict` for classes, large images and files."""
        return super().predict(range_checked_images(x, self), *args, **kwargs)

    def predict_on_batch(self, x):
        """Logits of one batch, as `keras.Model.predict_on_batch`."""
        return super().predict_on_batch(range_checked_images(x, self))

    def train_on_batch(self, x, y=None, sample_weight=None, *args, **kwargs):
        """One training step, as `keras.Model.train_on_batch`, with the errors of `fit`."""
        check_batch(x, y, self, sample_weight=sample_weight)
        return super().train_on_batch(x, y, sample_weight, *args, **kwargs)

    def test_on_batch(self, x, y=None, sample_weight=None, *args, **kwargs):
        """Evaluate one batch, as `keras.Model.test_on_batch`, with the errors of `fit`."""
        check_batch(x, y, self, sample_weight=sample_weight)
        return super().test_on_batch(x, y, sample_weight, *args, **kwargs)


class _Reference:
    """Holds an object without Keras tracking it."""

    def __init__(self, value):
        self.value = value


@contextlib.contextmanager
def _label_errors():
    """Turn the errors of the label check inside an input pipeline into ValueErrors."""
    try:
        yield
    except tf.errors.OpError as error:
        LabelCheck.reraise(error)
        SizeCheck.reraise(error)
        value_check.reraise(error)
        raise
