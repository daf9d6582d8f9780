"""The head that classifies regions and moves their boxes."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg.layers._boxes import check_count
from kseg.layers.conv_block import fresh_initializer
from kseg.layers.conv_norm2d import ConvNorm2D


@keras.saving.register_keras_serializable(package="kseg")
class BoxHead(keras.layers.Layer):
    """What is in each region, and where exactly.

    3 x 3 convolutions, if any, then dense layers, all with ReLU, then one dense layer for the classes and one for the
    boxes. torchvision's first form has two dense layers of 1024 units; its second has four normalised convolutions of
    256 channels and one dense layer.

    Source: Lin et al. 2017, "FPN", https://arxiv.org/abs/1612.03144.

    Args:
        num_classes: number of classes of objects; the background is one more.
        conv_filters: channels of each convolution.
        units: of each dense layer.
        norm: `"batch"` or None: what follows each convolution.
        kernel_initializer: as in Keras, of convolutions and hidden dense layers.
        norm_momentum: of the moving averages.
        norm_epsilon: added to the variance.
        **kwargs: `name`, `dtype`, `trainable`.

    Attributes:
        convolutions: `ConvNorm2D`. dense: the hidden dense layers. logits, deltas: the last ones, in float32.

    Call arguments:
        inputs: `(B, P, h, w, C)`, features of known height and width, cut out of a pyramid.
        training: whether normalisation takes the statistics of the batch.

    Returns:
        `(logits, deltas)`, float32: `(B, P, 1 + num_classes)`, the background first, and
        `(B, P, 1 + num_classes, 4)`: for each class how to move the box. The background's are never used; published
        weights have them.

    Raises:
        ValueError: an argument outside its range.

    Example:
        >>> logits, deltas = BoxHead(num_classes=3)(keras.Input((1000, 7, 7, 256)))
    """

    def __init__(
        self,
        num_classes,
        conv_filters=(),
        units=(1024, 1024),
        norm=None,
        kernel_initializer="he_normal",
        norm_momentum=0.9,
        norm_epsilon=1e-5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_count("num_classes", num_classes)
        for name, values in (("conv_filters", conv_filters), ("units", units)):
            for value in values:
                check_count(f"every one of {name}", value)
        self.num_classes = num_classes
        self.conv_filters = conv_filters
        self.units = units
        self.norm = norm
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.norm_momentum = norm_momentum
        self.norm_epsilon = norm_epsilon
        self.convolutions = [
            ConvNorm2D(
                filters,
                norm=norm,
                kernel_initializer=fresh_initializer(self.kernel_initializer),
                norm_momentum=norm_momentum,
                norm_epsilon=norm_epsilon,
                dtype=self.dtype_policy,
                name=f"conv_{index}",
            )
            for index, filters in enumerate(conv_filters)
        ]
        self.dense = [
            keras.layers.Dense(
                count,
                activation="relu",
                kernel_initializer=fresh_initializer(self.kernel_initializer),
                dtype=self.dtype_policy,
                name=f"dense_{index}",
            )
            for index, count in enumerate(units)
        ]
        self.logits = _last("logits", 1 + num_classes, 0.01)
        self.deltas = _last("deltas", 4 * (1 + num_classes), 0.001)

    def build(self, input_shape):
        if None in input_shape[2:]:
            raise ValueError(f"inputs must have known height, width and channels; got shape {tuple(input_shape)}")
        shape = (None, *input_shape[2:])
        for layer in self.convolutions:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        shape = (None, shape[1] * shape[2] * shape[3])
        for layer in self.dense:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self.logits.build(shape)
        self.deltas.build(shape)
        self.built = True

    def call(self, inputs, training=None):
        images, regions = tf.shape(inputs)[0], tf.shape(inputs)[1]
        features = tf.reshape(inputs, [images * regions, *inputs.shape[2:]])
        for layer in self.convolutions:
            features = layer(features, training=training)
        features = tf.reshape(features, [images * regions, features.shape[1:].num_elements()])
        for layer in self.dense:
            features = layer(features)
        classes = 1 + self.num_classes
        logits = tf.reshape(self.logits(features), [images, regions, classes])
        deltas = tf.reshape(self.deltas(features), [images, regions, classes, 4])
        return (
            tf.ensure_shape(logits, [*inputs.shape[:2], classes]),
            tf.ensure_shape(deltas, [*inputs.shape[:2], classes, 4]),
        )

    def compute_output_shape(self, input_shape):
        places = (*input_shape[:2], 1 + self.num_classes)
        return places, (*places, 4)

    def compute_output_spec(self, inputs, training=None):
        return tuple(keras.KerasTensor(shape, "float32") for shape in self.compute_output_shape(inputs.shape))

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "conv_filters": self.conv_filters,
            "units": self.units,
            "norm": self.norm,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "norm_momentum": self.norm_momentum,
            "norm_epsilon": self.norm_epsilon,
        }


def _last(name, units, deviation):
    """A layer that begins near zero: all classes alike, boxes where they are."""
    initializer = keras.initializers.RandomNormal(stddev=deviation)
    return keras.layers.Dense(units, kernel_initializer=initializer, dtype="float32", name=name)
