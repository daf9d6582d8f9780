"""The base class of kseg's models: what `fit`, `evaluate`, `save` and `export` do for a segmentation network."""

from __future__ import annotations

import contextlib
import contextvars

import keras
import tensorflow as tf

import kseg_ops
from kseg._class_arguments import check_ignore_index, check_num_classes
from kseg._dtype_scope import dtype_scope as dtype_scope
from kseg.losses import CrossEntropy
from kseg.metrics import MeanIoU, PixelAccuracy, native_steps
from kseg.models.checked_data import BatchCheck, check_batch, checked_data, range_checked_images
from kseg.models.label_check import LabelCheck
from kseg.models.range_check import RangeCheck
from kseg.models.size_check import SizeCheck

_build_compiled = contextvars.ContextVar("kseg_build_compiled", default=True)

DEFAULT_LEARNING_RATE = 1e-3  # Adam's own default, which trains networks with normalisation well


class SegmentationModel(keras.Model):
    """A functional Keras model from images to float32 logits per pixel.

    A subclass builds its graph, calls this constructor, keeps its arguments with `keep_arguments` (which makes
    `get_config` and saving work) and calls `compile_default` last.

    What it adds to a Keras model:

    - It comes compiled: Adam, cross-entropy with the ignore label, mean IoU and pixel accuracy. `compile` overrides.
      `from_config` (and so `load_model(compile=False)`) builds it uncompiled.
    - `fit`, `evaluate`, `train_on_batch` and `test_on_batch` answer a label that is neither a class nor
      `ignore_index` with a ValueError that names it, also in steps that XLA compiles.
    - Native ops stay out of steps that XLA compiles.
    - Float images within 0..1 given to a model that rescales 0..255 itself draw one warning.

    Args:
        inputs: the Keras input `(B, H, W, channels)`.
        outputs: the logits `(B, H, W, num_classes)`, float32.
        num_classes: number of classes; 1 is the sigmoid case.
        ignore_index: the label of void pixels, or None.
        class_names: one name per class, or None.
        input_range: the `(low, high)` values of the images, or None if the model does not rescale.
        stride: the smallest resolution inside the network is 1 / stride of the image.
        receptive_field_radius: how many pixels away an image pixel can influence an output pixel; None if the model
            looks at the whole image.
        margin: pixels at the top and the left of the image that have no logits; 0 for same-size models.
        **kwargs: `name`, `trainable`.

    Raises:
        ValueError: a number of classes below 1; an ignore index that is a class; another number of names than classes.
    """

    def __init__(
        self,
        inputs,
        outputs,
        *,
        num_classes,
        ignore_index=255,
        class_names=None,
        input_range=(0, 255),
        stride=1,
        receptive_field_radius=None,
        margin=0,
        **kwargs,
    ):
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)
        check_classes(num_classes, ignore_index, class_names)
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.class_names = None if class_names is None else tuple(class_names)
        self.input_range = None if input_range is None else tuple(input_range)
        self.stride = stride
        self.receptive_field_radius = receptive_field_radius
        self.margin = margin
        self.label_check = LabelCheck(num_classes, ignore_index)
        self.range_check = RangeCheck(self.input_range)
        self._validation_x = None
        self._arguments = {}

    # Construction and configuration

    def keep_arguments(self, **arguments):
        """Keep the constructor's arguments, unmodified, for `get_config`."""
        self._arguments = _Arguments(arguments)

    def get_config(self):
        """The constructor's arguments, and the precision policy that the model was built with."""
        policy = keras.dtype_policies.serialize(self.dtype_policy)
        return {**self._arguments.values, "name": self.name, "trainable": self.trainable, "dtype": policy}

    @classmethod
    def from_config(cls, config):
        """Build the model, not compiled."""
        token = _build_compiled.set(False)
        try:
            return cls(**{name: _restored(name, value) for name, value in config.items()})
        finally:
            _build_compiled.reset(token)

    def compile_default(self):
        """Compile with the defaults, unless the model is being built from a configuration."""
        if not _build_compiled.get():
            return
        self.compile()

    def compile(self, optimizer=None, loss=None, loss_weights=None, metrics=None, **kwargs):
        """Configure training, as `keras.Model.compile`, with defaults for what is None.

        Args:
            optimizer: by default Adam with learning rate 0.001.
            loss: by default `kseg.losses.CrossEntropy` with the model's `ignore_index`.
            loss_weights: as in Keras.
            metrics: by default `MeanIoU` and `PixelAccuracy` with the model's `ignore_index`; an empty list for none.
            **kwargs: everything else that Keras takes.
        """
        # Left to Keras, a second compile() would keep the first one's loss and metrics where it is given none, yet
        # save the model without them.
        if optimizer is None:
            optimizer = keras.optimizers.Adam(DEFAULT_LEARNING_RATE)
        if loss is None:
            loss = CrossEntropy(ignore_index=self.ignore_index)
        if metrics is None:
            metrics = [
                MeanIoU(self.num_classes, ignore_index=self.ignore_index),
                PixelAccuracy(self.num_classes, ignore_index=self.ignore_index),
            ]
        super().compile(optimizer=optimizer, loss=loss, loss_weights=loss_weights, metrics=metrics, **kwargs)

    def get_compile_config(self):
        config = super().get_compile_config()
        if config:
            config["optimizer_built"] = bool(self.optimizer.built)
        return config

    def compile_from_config(self, config):
        config = keras.saving.deserialize_keras_object(config)
        # An optimizer that had taken no step was saved without its slots: built here, it would not find them in the
        # file, and loading a fresh model would warn.
        built = config.pop("optimizer_built", True)
        self.compile(**config)
        if built:
            self.optimizer.build(self.trainable_variables)

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

    def _crop_to_logits(self, labels, logits):
        """Labels (or pixel weights) of the images' size, cut to the pixels that have logits."""
        if labels is None or not self.margin:
            return labels
        known = labels.shape.rank is not None
        if not known:  # a step traced for (B, H, W) and (B, H, W, 1), or for weights per pixel and per image, (B,)
            shape = tf.concat([tf.shape(labels), [1, 1, 1]], 0)[:3]
            labels = tf.reshape(labels, tf.reshape(shape, [3]))
        if labels.shape.rank < 3:  # one weight per image
            return labels
        size, full = tf.shape(logits)[1:3], tf.shape(labels)[1:3]
        start = tf.where(tf.equal(size, full) | tf.equal(full, 1), 0, self.margin)
        cut = labels[:, start[0] : start[0] + size[0], start[1] : start[1] + size[1]]
        if known:
            cut.set_shape([labels.shape[0], *logits.shape[1:3], *labels.shape[3:]])
        return cut

    # Steps

    def _step_ops(self):
        # Until the compiled ops have XLA kernels, one of them inside a step that XLA compiles ends training with
        # "Detected unsupported operations".
        return kseg_ops.use_reference() if self.jit_compile else native_steps()

    def train_step(self, data):
        with self._step_ops():
            return super().train_step(data)

    def test_step(self, data):
        with self._step_ops():
            return super().test_step(data)

    def predict_step(self, data):
        with self._step_ops():
            return super().predict_step(data)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        y, sample_weight = self._crop_to_logits(y, y_pred), self._crop_to_logits(sample_weight, y_pred)
        return super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        y, sample_weight = self._crop_to_logits(y, y_pred), self._crop_to_logits(sample_weight, y_pred)
        return super().compute_metrics(x, y, y_pred, sample_weight=sample_weight)

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
            y: integer labels `(N, H, W)` or `(N, H, W, 1)` if `x` is an array.
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
            ValueError: a label out of range (named, with the range and the ignore index), floating labels, labels of
                another size than the images, `class_weight`.
        """
        if class_weight is not None:
            raise ValueError(
                "class_weight weighs whole images in Keras, not pixels. Compile with "
                "kseg.losses.CrossEntropy(class_weights=[...]) instead"
            )
        x = checked_data(x, y, self)
        if y is None and not isinstance(x, keras.utils.PyDataset):
            shuffle = False  # Keras's default is True, and then warns that it cannot shuffle a dataset
        if isinstance(validation_data, (tuple, list)) and len(validation_data) >= 2:
            checked_data(validation_data[0], validation_data[1], self, name="the labels of validation_data")
            self._validation_x = _Reference(validation_data[0])
        elif validation_data is not None:
            validation_data = checked_data(validation_data, None, self, name="the labels of validation_data")
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
            x = checked_data(x, y, self)
        with _label_errors():
            return super().evaluate(x, y, *args, **kwargs)

    def predict(self, x, *args, **kwargs):
        """Logits of images, as `keras.Model.predict`. See `kseg.predict` for classes, large images and files."""
        return super().predict(range_checked_images(x, self), *args, **kwargs)

    def predict_on_batch(self, x):
        """Logits of one batch, as `keras.Model.predict_on_batch`."""
        return super().predict_on_batch(range_checked_images(x, self))

    def train_on_batch(self, x, y=None, *args, **kwargs):
        """One training step, as `keras.Model.train_on_batch`, with the errors of `fit`."""
        check_batch(x, y, self)
        return super().train_on_batch(x, y, *args, **kwargs)

    def test_on_batch(self, x, y=None, *args, **kwargs):
        """Evaluate one batch, as `keras.Model.test_on_batch`, with the errors of `fit`."""
        check_batch(x, y, self)
        return super().test_on_batch(x, y, *args, **kwargs)

    def export(self, filepath, **kwargs):
        """Write a SavedModel for serving, of stock TensorFlow ops unless told otherwise: `kseg.export(self, ...)`."""
        from kseg.exporting.export import export

        return export(self, filepath, **kwargs)


class _Arguments:
    """Holds the constructor's arguments where Keras's attribute tracking does not wrap lists and tuples."""

    def __init__(self, values):
        self.values = values


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
        raise


def check_classes(num_classes, ignore_index, class_names):
    """Check the arguments that say what the classes are.

    Raises:
        ValueError: naming the argument, what was expected and what came.
    """
    labels = max(check_num_classes(num_classes), 2)
    ignore_index = check_ignore_index(ignore_index)
    if ignore_index is not None and 0 <= ignore_index < labels:
        raise ValueError(
            f"ignore_index={ignore_index} is one of the classes 0..{labels - 1}; choose a value outside, or None"
        )
    if class_names is not None and len(class_names) not in {num_classes, labels}:
        raise ValueError(f"class_names must hold {labels} names, one per class; got {len(class_names)}")


_TUPLES = ("input_shape", "input_range", "decoder_filters", "rates", "sizes")  # where they are usually given as such


def _restored(name, value):
    """A saved argument as it was given: JSON turns tuples into lists."""
    return tuple(value) if name in _TUPLES and isinstance(value, list) else value
