"""The base class of detectors: what `fit`, `evaluate`, `predict` and saving do for a network with two stages."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
from typing import Any

import keras
import tensorflow as tf

from kseg.models.checked_data import range_checked_images
from kseg.models.configured_model import ConfiguredModel
from kseg.models.keyword_arguments import check_keywords
from kseg.models.range_check import RangeCheck
from kseg.models.region_targets import checked_targets, without_padding
from kseg_ops import _graphs

DEFAULT_LEARNING_RATE = 1e-4
LARGEST_GRADIENT = 10.0  # norm of all gradients together: the first steps of a detector are its roughest

_step = contextvars.ContextVar("kseg_region_step", default=None)


@dataclasses.dataclass(frozen=True)
class _Step:
    """What Keras does not hand to `call` within a step.

    Attributes:
        model: whose step it is.
        sizes: of the images, or None.
        losses: whether losses are wanted, and not detections.
        training: whether it is a training step.
    """

    model: Any
    sizes: Any
    losses: bool
    training: bool


class _Reference:
    """Holds objects without Keras tracking them: a model that is built takes no further ones."""

    def __init__(self, value):
        self.value = value


class RegionModel(ConfiguredModel, keras.Model):
    """A Keras model from images to a dictionary of detections, trained on dictionaries of targets.

    A subclass builds its layers, calls `finish` at the end of its constructor, and has four methods: `first_stage`,
    `detect`, `losses_of` and the names of its losses and targets.

    What it adds to a Keras model:

    - It comes compiled: Adam with clipped gradients. `compile` overrides, except for the losses, which are part of the
      network.
    - `fit` logs every loss by name. Metrics get the targets and the detections, when the model is evaluated.
    - `predict` takes images, or a data set of images and targets, of which it reads the sizes.
    - Steps that XLA compiles use native ops where kseg has XLA support (see `kseg.show_config`), else the references.
    """

    loss_names: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()

    def __init__(self, *, num_classes, class_names, input_range, **kwargs):
        kwargs.pop("dtype", None)  # in every configuration; the precision policy is that of the scope
        check_keywords(type(self), [name for name in kwargs if name not in ("name", "trainable")])
        super().__init__(autocast=False, **kwargs)
        self.num_classes = num_classes
        self.class_names = None if class_names is None else tuple(class_names)
        self.input_range = None if input_range is None else tuple(input_range)
        self.range_check = RangeCheck(self.input_range)
        self.loss_means = [keras.metrics.Mean(name=name) for name in self.loss_names]
        self._of_detections = _Reference([])

    @property
    def detection_metrics(self):
        """The metrics that the model was compiled with."""
        return self._of_detections.value

    @property
    def metrics(self):
        return [*super().metrics, *self.detection_metrics]

    # What a subclass has

    def first_stage(self, images, sizes, training):
        """Everything up to the outputs of the region proposal network, as a dictionary."""
        raise NotImplementedError

    def detect(self, stage):
        """The detections that follow from a first stage."""
        raise NotImplementedError

    def losses_of(self, stage, targets, training):
        """The losses by name."""
        raise NotImplementedError

    # Steps

    def call(self, images, sizes=None, training=None):
        step = _step.get()
        step = step if step is not None and step.model is self else None
        if step is not None and sizes is None:
            sizes = step.sizes
        stage = self.first_stage(images, sizes, training)
        return stage if step is not None and step.losses else self.detect(stage)

    @contextlib.contextmanager
    def _in_step(self, data, losses, training=False):
        _, targets, weights = keras.utils.unpack_x_y_sample_weight(data)
        if losses and weights is not None:
            raise ValueError(
                "sample_weight is not supported: a batch is (images, targets), and objects that are not to be learned "
                "from are left out or marked in targets['crowd']"
            )
        sizes = targets.get("sizes") if isinstance(targets, dict) else None
        with _graphs.step_ops(bool(self.jit_compile)):
            token = _step.set(_Step(self, sizes, losses, training))
            try:
                yield
            finally:
                _step.reset(token)

    def train_step(self, data):
        with self._in_step(data, losses=True, training=True):
            return super().train_step(data)

    def test_step(self, data):
        with self._in_step(data, losses=True):
            return super().test_step(data)

    def predict_step(self, data):
        with self._in_step(data, losses=False):
            return super().predict_step(data)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        images = tf.convert_to_tensor(x)
        targets = checked_targets(y, images=images, num_classes=self.num_classes, names=self.target_names)
        losses = self.losses_of(y_pred, without_padding(targets), training)
        for mean in self.loss_means:
            mean.update_state(losses[mean.name], sample_weight=tf.shape(images)[0])
        return tf.add_n([*losses.values(), *self.losses])

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        step = _step.get()
        if step is not None and step.training:
            theirs = [id(metric) for metric in self.detection_metrics]
            return {metric.name: metric.result() for metric in self.metrics if id(metric) not in theirs}
        if self.detection_metrics:
            detections = self.detect(y_pred)
            for metric in self.detection_metrics:
                metric.update_state(y, detections)
        return self.get_metrics_result()

    # Keras's entry points

    def fit(self, x=None, y=None, *args, **kwargs):
        """Train, as `keras.Model.fit`.

        Args:
            x: a `tf.data.Dataset`, `keras.utils.PyDataset` or generator of `(images, targets)`, or images
                `(N, H, W, channels)`.
            y: targets, if `x` holds images.
            *args: as in Keras.
            **kwargs: as in Keras.

        Returns:
            The `keras.callbacks.History`, with the losses by name.

        Raises:
            TypeError: targets of another kind.
            ValueError: targets that lack something or have another shape; weights of samples or classes.
            tf.errors.InvalidArgumentError: a class out of range, or a box of an object that is not finite or has no
                area, except in steps that XLA compiles.
        """
        if y is None and not isinstance(x, keras.utils.PyDataset):
            kwargs.setdefault("shuffle", False)  # Keras's default is True, and then warns that it cannot
        return super().fit(self._looked_at(x), y, *args, **kwargs)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        """The losses, and the metrics of the detections, as `keras.Model.evaluate`, on data of the kinds of `fit`."""
        return super().evaluate(self._looked_at(x), y, *args, **kwargs)

    def predict(self, x, *args, **kwargs):
        """Detections, as `keras.Model.predict`: arrays by name, of all images in succession.

        Args:
            x: images, or a data set of images or of `(images, targets)`, of which the targets' `sizes` are used.
            *args: as in Keras.
            **kwargs: as in Keras.
        """
        return super().predict(self._looked_at(x), *args, **kwargs)

    def predict_on_batch(self, x, sizes=None):
        """Detections in one batch, as `keras.Model.predict_on_batch`.

        Args:
            x: images.
            sizes: int `(B, 2)`, heights and widths without padding, or None.
        """
        if sizes is None:
            return super().predict_on_batch(self._looked_at(x))
        return self.predict(tf.data.Dataset.from_tensors((x, {"sizes": sizes})), verbose=0)

    def _looked_at(self, x):
        """The same data, with a warning if they look as if they had been scaled to 0..1 already."""
        if isinstance(x, tf.data.Dataset):
            return range_checked_images(x, self)
        if hasattr(x, "__array__") and hasattr(x, "shape"):
            self.range_check.check_array(x)
        return x

    # Compilation

    def compile(self, optimizer=None, metrics=None, **kwargs):
        """Configure training, as `keras.Model.compile`.

        Args:
            optimizer: by default Adam with learning rate 0.0001, the norm of all gradients cut to 10.
            metrics: Keras metrics whose `update_state` takes the targets and the detections of a batch, both
                dictionaries. They see the data that the model is evaluated on, not those it trains on.
            **kwargs: everything else that Keras takes but `loss`.

        Raises:
            TypeError: a metric of another kind.
            ValueError: a loss is given: those of a detector are part of it.
        """
        if kwargs.get("loss") is not None or kwargs.get("loss_weights") is not None:
            raise ValueError(
                f"loss must not be given: {type(self).__name__} has its own, {', '.join(self.loss_names)}. A subclass "
                "that overrides losses_of can weigh them otherwise"
            )
        for metric in metrics or []:
            if not isinstance(metric, keras.metrics.Metric):
                raise TypeError(
                    "metrics must be keras.metrics.Metric objects, whose update_state takes the dictionaries of "
                    f"targets and detections; got {metric!r}. kseg.callbacks.CocoEvaluation(dataset) adds COCO's "
                    "figures to each epoch"
                )
        if optimizer is None:
            optimizer = keras.optimizers.Adam(DEFAULT_LEARNING_RATE, global_clipnorm=LARGEST_GRADIENT)
        self._of_detections = _Reference(list(metrics or []))
        super().compile(optimizer=optimizer, **kwargs)

    def get_compile_config(self):
        config = super().get_compile_config()
        if config:
            config["metrics"] = [keras.saving.serialize_keras_object(metric) for metric in self.detection_metrics]
        return config

    def finish(self, input_shape, frozen_batch_norm, **arguments):
        """Build the layers, keep the constructor's arguments and compile."""
        self.build((None, *input_shape))
        self.freeze_batch_norms_for_good(frozen_batch_norm)
        self.keep_arguments(input_shape=input_shape, **arguments)
        self.compile_default()
