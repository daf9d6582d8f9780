"""The head that draws the masks of objects."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg.layers._boxes import check_count
from kseg.layers.conv_block import fresh_initializer
from kseg.layers.conv_norm2d import ConvNorm2D


@keras.saving.register_keras_serializable(package="kseg")
class MaskHead(keras.layers.Layer):
    """A mask for each region, of twice the size of its features.

    3 x 3 convolutions with ReLU, a 2 x 2 transposed convolution of stride 2 with ReLU, and a 1 x 1 convolution that
    gives a logit per class. Only the masks of the classes asked for are computed by it.

    Source: He et al. 2017, "Mask R-CNN", https://arxiv.org/abs/1703.06870.

    Args:
        num_classes: number of classes of objects.
        conv_filters: channels of each 3 x 3 convolution.
        filters: channels of the transposed one.
        norm: `"batch"` or None: what follows each 3 x 3 convolution; torchvision's second form has the former.
        kernel_initializer: as in Keras.
        norm_momentum: of the moving averages.
        norm_epsilon: added to the variance.
        **kwargs: `name`, `dtype`, `trainable`.

    Attributes:
        convolutions: `ConvNorm2D`. upsampling: the transposed convolution. logits: the last one, in float32, its
            channel 0 that of the background: published weights have it, and no mask is ever taken from it.

    Call arguments:
        inputs: `(B, P, h, w, C)`, features cut out of a pyramid.
        classes: int `(B, P)`, 0 to `num_classes - 1`: the class of which a region's mask is wanted; below 0 for any.
        training: whether normalisation takes the statistics of the batch.

    Returns:
        float32 logits `(B, P, 2 * h, 2 * w)`, in the frame of the box.

    Raises:
        ValueError: an argument outside its range.

    Example:
        >>> masks = MaskHead(num_classes=3)(keras.Input((100, 14, 14, 256)), keras.Input((100,), dtype="int32"))
    """

    def __init__(
        self,
        num_classes,
        conv_filters=(256, 256, 256, 256),
        filters=256,
        norm=None,
        kernel_initializer="he_normal",
        norm_momentum=0.9,
        norm_epsilon=1e-5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_count("num_classes", num_classes)
        check_count("filters", filters)
        for value in conv_filters:
            check_count("every one of conv_filters", value)
        self.num_classes = num_classes
        self.conv_filters = conv_filters
        self.filters = filters
        self.norm = norm
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.norm_momentum = norm_momentum
        self.norm_epsilon = norm_epsilon
        self.convolutions = [
            ConvNorm2D(
                channels,
                norm=norm,
                kernel_initializer=fresh_initializer(self.kernel_initializer),
                norm_momentum=norm_momentum,
                norm_epsilon=norm_epsilon,
                dtype=self.dtype_policy,
                name=f"conv_{index}",
            )
            for index, channels in enumerate(conv_filters)
        ]
        self.upsampling = keras.layers.Conv2DTranspose(
            filters,
            2,
            strides=2,
            activation="relu",
            kernel_initializer=fresh_initializer(self.kernel_initializer),
            dtype=self.dtype_policy,
            name="upsampling",
        )
        self.logits = _LogitsOfClasses(
            1 + num_classes,
            1,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
            dtype="float32",
            name="logits",
        )

    def build(self, inputs_shape, classes_shape=None):
        shape = (None, *inputs_shape[2:])
        for layer in (*self.convolutions, self.upsampling, self.logits):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self.built = True

    def call(self, inputs, classes, training=None):
        images, regions = tf.shape(inputs)[0], tf.shape(inputs)[1]
        features = tf.reshape(inputs, [images * regions, *inputs.shape[2:]])
        for layer in self.convolutions:
            features = layer(features, training=training)
        logits = self.logits(self.upsampling(features), tf.reshape(tf.maximum(tf.cast(classes, tf.int32), 0) + 1, [-1]))
        height, width = logits.shape[1:]
        return tf.ensure_shape(tf.reshape(logits, [images, regions, height, width]), [*inputs.shape[:2], height, width])

    def compute_output_shape(self, inputs_shape, classes_shape=None):
        return (*inputs_shape[:2], 2 * inputs_shape[2], 2 * inputs_shape[3])

    def compute_output_spec(self, inputs, classes, training=None):
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), "float32")

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "conv_filters": self.conv_filters,
            "filters": self.filters,
            "norm": self.norm,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "norm_momentum": self.norm_momentum,
            "norm_epsilon": self.norm_epsilon,
        }


class _LogitsOfClasses(keras.layers.Conv2D):
    """A 1 x 1 convolution of which each image `(N, h, w, C)` wants one output channel: others would be thrown away.

    A layer of its own, because its weights are then in full precision whatever the layer around it computes in.
    """

    def call(self, inputs, channels=None):
        if channels is None:
            return super().call(inputs)
        kernel = tf.gather(tf.transpose(tf.convert_to_tensor(self.kernel)[0, 0]), channels)
        bias = tf.gather(tf.convert_to_tensor(self.bias), channels)
        _, height, width, depth = inputs.shape
        flat = tf.reshape(inputs, [tf.shape(inputs)[0], height * width, depth])
        logits = tf.linalg.matvec(flat, kernel) + bias[:, None]
        return tf.reshape(logits, [tf.shape(inputs)[0], height, width])
