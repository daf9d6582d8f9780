"""RoIAlign over a feature pyramid as a layer."""

from __future__ import annotations

import keras

import kseg_ops
from kseg.layers.native_layer import NativeLayer
from kseg_ops._checks import MAX_SAMPLING_RATIO, as_int, as_output_size
from kseg_ops._pyramid import as_canonical_level, as_canonical_size, as_pyramid


@keras.saving.register_keras_serializable(package="kseg")
class MultilevelRoIAlign(NativeLayer):
    """Cuts boxes out of a feature pyramid, each out of the level that fits its size (Lin et al. 2017, "FPN").

    `kseg_ops.multilevel_roi_align` states the semantics in full: they are those of torchvision's MultiScaleRoIAlign,
    whose Mask R-CNN has `sampling_ratio=2` and `aligned=False`.

    Args:
        output_size: bins `(h, w)`, or one int for both.
        sampling_ratio: samples per bin and axis, 1 to 128; 0 adapts to the box.
        aligned: whether pixel centres lie at half-integer coordinates.
        canonical_size: side in pixels of the square box that starts `canonical_level`.
        canonical_level: its level.

    Call arguments:
        inputs: `(features, boxes)`: features a dict `{"P2": [B, H, W, C], "P3": ...}`, level n of stride 2**n, cast to
            the layer's compute dtype; boxes `[B, N, 4]` as `x1, y1, x2, y2` in absolute pixels of the image. Boxes stay
            float32 under any policy. Padded boxes of zeros are safe; one that is not finite gives zeros.

    Returns:
        `[B, N, h, w, C]` in the layer's compute dtype. Gradients reach every level, never the boxes.

    Example:
        >>> pyramid = {"P3": keras.Input((None, None, 64)), "P4": keras.Input((None, None, 64))}
        >>> crops = kseg.layers.MultilevelRoIAlign(7)((pyramid, keras.Input((100, 4))))  # (None, 100, 7, 7, 64)
    """

    native_ops = ("multilevel_roi_align",)

    def __init__(self, output_size, sampling_ratio=2, aligned=True, canonical_size=224, canonical_level=4, **kwargs):
        as_output_size(output_size)
        as_int("sampling_ratio", sampling_ratio, 0, MAX_SAMPLING_RATIO)
        as_canonical_size(canonical_size)
        as_canonical_level(canonical_level)
        super().__init__(autocast=False, **kwargs)
        self.output_size = output_size
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned
        self.canonical_size = canonical_size
        self.canonical_level = canonical_level

    def call(self, inputs):
        features, boxes = inputs
        return kseg_ops.multilevel_roi_align(
            {f"P{number}": keras.ops.cast(level, self.compute_dtype) for number, level in as_pyramid(features).items()},
            boxes,
            self.output_size,
            self.sampling_ratio,
            self.aligned,
            self.canonical_size,
            self.canonical_level,
        )

    def compute_output_shape(self, input_shape):
        features, boxes = input_shape
        shapes = list(as_pyramid(features).values())
        for shape in shapes:
            if len(shape) != 4:
                raise ValueError(f"features must have shape (B, H, W, C) on every level, got {tuple(shape)}")
        if len(boxes) != 3 or boxes[-1] not in (4, None):
            raise ValueError(f"boxes must have shape (B, N, 4), got {tuple(boxes)}")
        batch = next((shape[0] for shape in (boxes, *shapes) if shape[0] is not None), None)
        channels = next((shape[-1] for shape in shapes if shape[-1] is not None), None)
        return (batch, boxes[1], *as_output_size(self.output_size), channels)

    def get_config(self):
        return {
            **super().get_config(),
            "output_size": self.output_size,
            "sampling_ratio": self.sampling_ratio,
            "aligned": self.aligned,
            "canonical_size": self.canonical_size,
            "canonical_level": self.canonical_level,
        }
