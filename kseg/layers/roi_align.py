"""RoIAlign as a layer."""

from __future__ import annotations

import keras
import tensorflow as tf

import kseg_ops
from kseg.layers.native_layer import NativeLayer
from kseg_ops._checks import MAX_SAMPLING_RATIO, as_int, as_output_size, as_scale


@keras.saving.register_keras_serializable(package="kseg")
class RoIAlign(NativeLayer):
    """Cuts boxes out of a feature map, resampled to one size (He et al. 2017, "Mask R-CNN").

    `kseg_ops.roi_align` states the semantics in full: they are those of torchvision and detectron2.

    Args:
        output_size: bins `(h, w)`, or one int for both.
        spatial_scale: feature pixels per image pixel: 0.25 for features of stride 4.
        sampling_ratio: samples per bin and axis, 1 to 128; 0 adapts to the box.
        aligned: whether pixel centres lie at half-integer coordinates.

    Call arguments:
        inputs: `[features, boxes]`: features `[B, H, W, C]`, cast to the layer's compute dtype, and boxes `[B, N, 4]`
            as `x1, y1, x2, y2` in absolute pixels of the image. Boxes stay float32 under any policy. A padded box of
            zeros reads the corner of the map; one with a coordinate that is not finite gives zeros.

    Returns:
        `[B, N, h, w, C]` in the layer's compute dtype. Gradients reach the features, never the boxes.

    Example:
        >>> features, boxes = keras.Input((None, None, 64)), keras.Input((None, 4))
        >>> crops = kseg.layers.RoIAlign(7, spatial_scale=0.25)([features, boxes])  # (None, None, 7, 7, 64)
    """

    native_ops = ("roi_align",)

    def __init__(self, output_size, spatial_scale=1.0, sampling_ratio=2, aligned=True, **kwargs):
        as_output_size(output_size)
        as_scale(spatial_scale)
        as_int("sampling_ratio", sampling_ratio, 0, MAX_SAMPLING_RATIO)
        super().__init__(autocast=False, **kwargs)
        self.output_size = output_size
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned

    def call(self, inputs):
        features, boxes = inputs
        _batch_and_count(features.shape, boxes.shape)  # before anything is derived from them
        features = keras.ops.cast(features, self.compute_dtype)
        # Images and boxes of images as one list; -1 cannot stand for a number of boxes when there is no image.
        batch, count = (
            boxes.shape[axis] if boxes.shape[axis] is not None else tf.shape(boxes)[axis] for axis in (0, 1)
        )
        indices = tf.reshape(tf.broadcast_to(tf.range(batch)[:, None], [batch, count]), [-1])
        pooled = kseg_ops.roi_align(
            features,
            tf.reshape(boxes, [-1, 4]),
            indices,
            self.output_size,
            self.spatial_scale,
            self.sampling_ratio,
            self.aligned,
        )
        channels = features.shape[-1] if features.shape[-1] is not None else tf.shape(features)[-1]
        return tf.reshape(pooled, [batch, count, *pooled.shape[1:3], channels])

    def compute_output_shape(self, input_shape):
        features, boxes = input_shape
        return (*_batch_and_count(features, boxes), *as_output_size(self.output_size), features[-1])

    def get_config(self):
        return {
            **super().get_config(),
            "output_size": self.output_size,
            "spatial_scale": self.spatial_scale,
            "sampling_ratio": self.sampling_ratio,
            "aligned": self.aligned,
        }


def _batch_and_count(features, boxes) -> tuple[int | None, int | None]:
    if len(features) != 4:
        raise ValueError(f"features must have shape (B, H, W, C), got {tuple(features)}")
    if len(boxes) != 3 or boxes[-1] not in (4, None):
        raise ValueError(f"boxes must have shape (B, N, 4), got {tuple(boxes)}")
    return (features[0] if boxes[0] is None else boxes[0]), boxes[1]
