"""One level up the expanding path."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg.layers.conv_block import ConvBlock, fresh_initializer
from kseg.layers.crop_to import CropTo

UPSAMPLINGS = ("transpose", "bilinear")


@keras.saving.register_keras_serializable(package="kseg")
class UpBlock(keras.layers.Layer):
    """Doubles height and width, joins the features of the contracting path, then a `ConvBlock`.

    Source: the expanding path of the U-Net, https://arxiv.org/abs/1505.04597.

    Args:
        filters: output channels, and those of the upsampled features before they are joined.
        upsampling: `"transpose"`, the paper's 2x2 up-convolution with bias, or `"bilinear"`, a 1x1 convolution with
            bias to `filters` channels and bilinear interpolation after it (a 1x1 convolution and interpolation
            commute, and this order convolves a quarter of the pixels).
        norm: `"batch"`, `"group"` or None.
        activation: name or callable.
        dropout: rate of the dropout at the end.
        padding: `"same"` or `"valid"`.
        kernel_initializer: as in Keras.
        skip_offset: where the skip features are cropped to the size of the upsampled ones: pixels from the top left,
            or `"center"`.
        **kwargs: `name`, `dtype`.

    Call arguments:
        inputs: `[features, skip]`: `(B, h, w, C)` and `(B, H, W, D)` with H >= 2h and W >= 2w.
        training: whether normalisation and dropout run in training mode.

    Returns:
        `(B, 2h, 2w, filters)`, 4 pixels less each way under `padding="valid"`.

    Raises:
        ValueError: an unknown `upsampling`; as `ConvBlock`; a skip smaller than the upsampled features.
    """

    def __init__(
        self,
        filters,
        upsampling="transpose",
        norm="batch",
        activation="relu",
        dropout=0.0,
        padding="same",
        kernel_initializer="he_normal",
        skip_offset="center",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if upsampling not in UPSAMPLINGS:
            raise ValueError(f'upsampling must be "transpose" or "bilinear"; got {upsampling!r}')
        self.upsampling = upsampling
        self.skip_offset = skip_offset
        self.block = ConvBlock(
            filters,
            norm=norm,
            activation=activation,
            dropout=dropout,
            padding=padding,
            kernel_initializer=kernel_initializer,
            dtype=self.dtype_policy,
            name="block",
        )
        initializer = fresh_initializer(self.block.kernel_initializer)
        shared = {"kernel_initializer": initializer, "dtype": self.dtype_policy}
        if upsampling == "transpose":
            self.upsample = [keras.layers.Conv2DTranspose(filters, 2, strides=2, name="up_convolution", **shared)]
        else:
            self.upsample = [
                keras.layers.Conv2D(filters, 1, name="reduce", **shared),
                _DoubleBilinear(dtype=self.dtype_policy, name="interpolate"),
            ]
        self.crop = CropTo(skip_offset, dtype=self.dtype_policy, name="crop")
        self.concat = keras.layers.Concatenate(dtype=self.dtype_policy, name="concat")

    def build(self, input_shape):
        features, skip = input_shape
        for step in self.upsample:
            step.build(features)
            features = step.compute_output_shape(features)
        self.crop.build([skip, features])
        joined = [self.crop.compute_output_shape([skip, features]), features]
        self.concat.build(joined)
        self.block.build(self.concat.compute_output_shape(joined))
        self.built = True

    def call(self, inputs, training=None):
        features, skip = inputs
        for step in self.upsample:
            features = step(features)
        return self.block(self.concat([self.crop([skip, features]), features]), training=training)

    def compute_output_shape(self, input_shape):
        (batch, height, width, channels), _ = input_shape
        doubled = (batch, *(None if size is None else 2 * size for size in (height, width)), channels)
        return self.block.compute_output_shape(doubled)

    def get_config(self):
        block = self.block.get_config()
        names = ("filters", "norm", "activation", "dropout", "padding", "kernel_initializer")
        return {
            **super().get_config(),
            **{name: block[name] for name in names},
            "upsampling": self.upsampling,
            "skip_offset": self.skip_offset,
        }


class _DoubleBilinear(keras.layers.Layer):
    """Twice the height and width by bilinear interpolation.

    Keras's `UpSampling2D(interpolation="bilinear")` cannot be traced with an unknown height or width ("Using a symbolic
    tf.Tensor as a Python bool is not allowed"), as exported and tiled models are.
    """

    def call(self, inputs):
        resized = tf.image.resize(inputs, 2 * tf.shape(inputs)[1:3], method="bilinear")
        resized.set_shape(self.compute_output_shape(inputs.shape))
        return tf.cast(resized, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, *(None if size is None else 2 * size for size in (height, width)), channels)
