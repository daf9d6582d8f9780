"""Resizing of one tensor to the height and width of another."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg.layers._interpolation import resize_bilinear
from kseg.layers.native_layer import NativeLayer
from kseg_ops import _graphs

INTERPOLATIONS = ("nearest", "bilinear", "align_corners")


@keras.saving.register_keras_serializable(package="kseg")
class ResizeTo(NativeLayer):
    """Resizes a feature map to another tensor's height and width.

    A map that has the size already comes back as it is.

    Args:
        interpolation: `"nearest"`: output row `i` is row `floor(i * h / H)`, so that pixels repeat from the top left,
            as decoders that double their features want it; `"bilinear"` with half-pixel centres, as
            `tf.image.resize`; `"align_corners"`: bilinear, output row `i` being read at `i * (h - 1) / (H - 1)`, so
            that corner pixels keep their centres. PyTorch's `interpolate` has all three under these names.
        **kwargs: `name`, `dtype`.

    Call arguments:
        inputs: `[features, reference]`, both `(B, h, w, C)`; sizes may be unknown until run time. Only the size of the
            reference is used.

    Returns:
        `(B, H_reference, W_reference, C)` in the compute dtype.

    Raises:
        ValueError: an unknown interpolation.

    Example:
        >>> small, skip = keras.Input((None, None, 64)), keras.Input((None, None, 32))
        >>> resized = ResizeTo("nearest")([small, skip])
    """

    # XLA gets TensorFlow's op for bilinear resizing wrong and has no gradient of the one for repeating pixels. This op,
    # which does not run here, tells where XLA may be at work.
    native_ops = ("resize_argmax",)

    def __init__(self, interpolation="nearest", **kwargs):
        super().__init__(**kwargs)
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f'interpolation must be "nearest", "bilinear" or "align_corners"; got {interpolation!r}')
        self.interpolation = interpolation
        if interpolation == "nearest":
            self.supports_jit = True

    def call(self, inputs):
        features, reference = inputs
        if None not in tuple(features.shape[1:3]) and features.shape[1:3] == reference.shape[1:3]:
            return features
        size = tf.shape(reference)[1:3]
        if self.interpolation == "nearest":
            if _graphs.is_for_xla("resize_argmax"):
                resized = _repeated(_repeated(features, 1, size[0]), 2, size[1])
            else:
                resized = tf.raw_ops.ResizeNearestNeighbor(images=features, size=size)
        elif _graphs.is_for_xla("resize_argmax"):
            resized = resize_bilinear(features, size, self.interpolation == "align_corners")
        else:
            align_corners = self.interpolation == "align_corners"
            resized = tf.raw_ops.ResizeBilinear(
                images=features, size=size, align_corners=align_corners, half_pixel_centers=not align_corners
            )
        resized.set_shape([features.shape[0], *reference.shape[1:3], features.shape[3]])
        return tf.cast(resized, self.compute_dtype)  # interpolation is computed in float32

    def compute_output_shape(self, input_shape):
        features, reference = input_shape
        return (features[0], *reference[1:3], features[3])

    def get_config(self):
        return {**super().get_config(), "interpolation": self.interpolation}


def _repeated(features, axis, size):
    """Rows or columns brought to a number, each from where it would lie, rounded down."""
    before = tf.shape(features)[axis]
    return tf.gather(features, tf.range(size) * before // size, axis=axis)
