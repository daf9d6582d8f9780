"""The base class of kseg's models: what `fit`, `evaluate` and `save` do for a segmentation network."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg._class_arguments import check_ignore_index, check_num_classes
from kseg._corner_alignment import aligned_corners
from kseg._dtype_scope import dtype_scope as dtype_scope
from kseg.backbones import Backbone
from kseg.layers import ResizeTo
from kseg.losses import CrossEntropy
from kseg.metrics import MeanIoU, PixelAccuracy
from kseg.models import compiled_losses
from kseg.models.checked_model import CheckedModel
from kseg.models.configured_model import ConfiguredModel
from kseg.models.keyword_arguments import check_keywords
from kseg.models.small_logits import SmallLogits, are_wanted, argmax_of, image_size, small_logits_of
from kseg_ops import _graphs

DEFAULT_LEARNING_RATE = 1e-3  # Adam's own default, which trains networks with normalisation well


class SegmentationModel(ConfiguredModel, CheckedModel):
    """A functional Keras model from images to float32 logits per pixel.

    A subclass builds its graph, calls this constructor, keeps its arguments with `keep_arguments` (which makes
    `get_config` and saving work) and calls `compile_default` last.

    What it adds to a Keras model:

    - It comes compiled: Adam, cross-entropy with the ignore label, mean IoU and pixel accuracy. `compile` overrides.
      `from_config` (and so `load_model(compile=False)`) builds it uncompiled.
    - `fit`, `evaluate`, `train_on_batch` and `test_on_batch` check labels and images: `CheckedModel`.
    - Steps that XLA compiles use native ops where kseg has XLA support (see `kseg.show_config`), else the references.
    - Logits that the network has at a smaller size than the image are upsampled within kseg's losses and metrics where
      training or evaluation can use them so; calls and `predict` give them at the image's size. A subclass that
      overrides `call`, `compute_loss` or `compute_metrics` itself has them at the image's size throughout, and its
      auxiliary heads are not trained.
    - Auxiliary heads: their losses are added in training and logged as `<name>_loss`.
    - Batch normalisation that can be frozen for good.

    Args:
        inputs: the Keras input `(B, H, W, channels)`.
        outputs: the logits `(B, H, W, num_classes)`, float32, or with `upsampling` smaller ones of any float dtype.
        num_classes: number of classes; 1 is the sigmoid case.
        ignore_index: the label of void pixels, or None.
        class_names: one name per class, or None.
        input_range: the `(low, high)` values of the images, or None if the model does not rescale.
        stride: the smallest resolution inside the network is 1 / stride of the image.
        receptive_field_radius: how many pixels away an image pixel can influence an output pixel; None if the model
            looks at the whole image.
        margin: pixels at the top and the left of the image that have no logits; 0 for same-size models.
        upsampling: how `outputs` come to the size of the images: `"bilinear"` with half-pixel centres,
            `"align_corners"`, or None if they have it.
        auxiliary: `{name: (logits, weight)}`, further heads: Keras tensors made of the same input, of any size, and the
            weights of their losses; None for none. They exist in training only.
        frozen_batch_norm: whether every BatchNormalization in the model keeps its statistics, gamma and beta, whatever
            `trainable` says.
        **kwargs: `name`, `trainable`.

    Raises:
        TypeError: a keyword argument that nothing reads.
        ValueError: a number of classes below 1; an ignore index that is a class; another number of names than classes;
            an unknown `upsampling`, or one together with a margin; a weight of an auxiliary head that is no number.
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
        upsampling=None,
        auxiliary=None,
        frozen_batch_norm=False,
        **kwargs,
    ):
        kwargs.pop("dtype", None)  # in every configuration; Keras itself does not look at it
        check_keywords(type(self), [name for name in kwargs if name != "name"])
        check_classes(num_classes, ignore_index, class_names)
        if upsampling is not None and margin:
            raise ValueError(f"margin must be 0 for a model that upsamples its logits; got {margin!r}")
        small = None
        if upsampling is not None or auxiliary:
            small = SmallLogits(inputs, outputs, upsampling, auxiliary or {})
            if upsampling is not None:
                outputs = ResizeTo(upsampling, dtype="float32", name="upsampling")([outputs, inputs])
        super().__init__(
            inputs,
            outputs,
            num_classes=num_classes,
            ignore_index=ignore_index,
            input_range=input_range,
            margin=margin,
            **kwargs,
        )
        self.class_names = None if class_names is None else tuple(class_names)
        self.stride = stride
        self.receptive_field_radius = receptive_field_radius
        self.upsampling = upsampling
        self._small = small
        self._user_metrics = _Reference([])
        inside = [] if small is None else super().layers
        self._auxiliary_layers = [] if small is None else [one for one in small.layers() if one not in inside]
        self.freeze_batch_norms_for_good(frozen_batch_norm)

    @property
    def layers(self):
        """The layers of the network, those of auxiliary heads last."""
        return [*super().layers, *getattr(self, "_auxiliary_layers", [])]

    # Construction and configuration

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
        self._loss_weights = _Reference(loss_weights)
        self._user_metrics = _Reference([metrics, kwargs.get("weighted_metrics") or []])
        super().compile(optimizer=optimizer, loss=loss, loss_weights=loss_weights, metrics=metrics, **kwargs)

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
        return _graphs.step_ops(bool(self.jit_compile))

    def _step_logits(self):
        """Lets calls inside the block give small logits, if nothing that a subclass overrides would be surprised."""
        ours = all(
            getattr(type(self), name) is getattr(SegmentationModel, name)
            for name in ("call", "compute_loss", "compute_metrics")
        )
        return small_logits_of(self if ours and self._small is not None else None)

    def call(self, inputs, training=None, mask=None):
        if self._small is not None and are_wanted(self):
            return self._small(inputs, training)
        return super().call(inputs, training=training, mask=mask)

    def train_step(self, data):
        with self._step_ops(), self._step_logits():
            logs = super().train_step(data)
        return logs if self._small is None else {**logs, **self._small.logs()}

    def test_step(self, data):
        with self._step_ops(), self._step_logits():
            return super().test_step(data)

    def predict_step(self, data):
        with self._step_ops():
            return super().predict_step(data)

    def reset_metrics(self):
        super().reset_metrics()
        if self._small is not None:
            self._small.reset()

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        if isinstance(y_pred, dict):
            return self._loss_of_small(x, y, y_pred, sample_weight, training)
        y, sample_weight = self._crop_to_logits(y, y_pred), self._crop_to_logits(sample_weight, y_pred)
        return super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)

    def _loss_of_small(self, x, y, heads, sample_weight, training):
        """The compiled loss of the logits, with the weighted ones of auxiliary heads added."""
        if not compiled_losses.take_small_logits(self.loss):
            heads = {name: self._small.at_full_size(logits, x) for name, logits in heads.items()}
        with aligned_corners(self._small.align_corners):
            total = super().compute_loss(x, y, heads["logits"], sample_weight, training=training)
            for name, weight in self._small.weights.items():
                if name in heads:
                    loss, loss_weight = compiled_losses.single_loss(self.loss, self._loss_weights.value)
                    value = loss(y, heads[name], sample_weight=sample_weight)
                    self._small.log(name, value)
                    total += weight * loss_weight * value
        return total

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        y = self.label_check.without_maps(y)
        if isinstance(y_pred, dict):
            if compiled_losses.take_classes(self._user_metrics.value, self.num_classes):
                y_pred = self._small.classes(y_pred["logits"], image_size(x))
            else:
                y_pred = self._small.at_full_size(y_pred["logits"], x)
        else:
            y, sample_weight = self._crop_to_logits(y, y_pred), self._crop_to_logits(sample_weight, y_pred)
        return super().compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    # Parts

    @property
    def backbone(self):
        """The `kseg.backbones.Backbone` of the network, or None."""
        return next((layer for layer in self.layers if isinstance(layer, Backbone)), None)

    def small_logits(self, images):
        """The logits before they are brought to the size of the image, for ops that do this by themselves.

        Args:
            images: `(B, H, W, channels)`.

        Returns:
            `(B, h, w, num_classes)` in the compute dtype or float32; of the image's size if `upsampling` is None.
        """
        if self._small is None:
            return self(images, training=False)
        with small_logits_of(self):
            return self(images, training=False)["logits"]

    def classes(self, images):
        """The class of each pixel, int32 `(B, H, W)`, from small logits if the model has such."""
        logits = self.small_logits(images)
        return argmax_of(logits) if self.upsampling is None else self._small.classes(logits, image_size(images))


class _Reference:
    """Holds an object without Keras tracking it."""

    def __init__(self, value):
        self.value = value


def check_classes(num_classes, ignore_index, class_names):
    """Check the arguments that say what the classes are.

    Raises:
        TypeError: class names that are no list or tuple of texts.
        ValueError: naming the argument, what was expected and what came.
    """
    labels = max(check_num_classes(num_classes), 2)
    ignore_index = check_ignore_index(ignore_index)
    if ignore_index is not None and 0 <= ignore_index < labels:
        raise ValueError(
            f"ignore_index={ignore_index} is one of the classes 0..{labels - 1}; choose a value outside, or None"
        )
    if class_names is None:
        return
    if not isinstance(class_names, (list, tuple)) or not all(isinstance(name, str) for name in class_names):
        raise TypeError(f'class_names must be a list of texts, such as ["background", "cell"]; got {class_names!r}')
    if len(class_names) not in {num_classes, labels}:
        raise ValueError(f"class_names must hold {labels} names, one per class; got {len(class_names)}")
