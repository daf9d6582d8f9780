"""Cropping of one tensor to the height and width of another."""

from __future__ import annotations

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="kseg")
class CropTo(keras.layers.Layer):
    """Crops a feature map to another tensor's height and width.

    Args:
        offset: where the crop starts, in pixels from the top left: an int, or `"center"` for half of what is cut away
            (rounded down). 0 undoes `PadToStride`.
        **kwargs: `name`, `dtype`.

    Call arguments:
        inputs: `[features, reference]`, both `(B, H, W, C)`; sizes may be unknown until run time. Only the size of the
            reference is used.

    Returns:
        The part of `features`, `(B, H_reference, W_reference, C)`.

    Raises:
        ValueError: an offset of another kind; features too small for the crop (when the sizes are known while the
            graph is built; otherwise TensorFlow's slice raises InvalidArgumentError).
    """

    def __init__(self, offset="center", **kwargs):
        super().__init__(**kwargs)
        is_pixels = isinstance(offset, int) and not isinstance(offset, bool) and offset >= 0
        if offset != "center" and not is_pixels:
            raise ValueError(f'offset must be "center" or an int of at least 0; got {offset!r}')
        self.offset = offset

    def call(self, inputs):
        features, reference = inputs
        have, want = _sizes(features), _sizes(reference)
        self._check(have, want)
        if self.offset in ("center", 0) and all(isinstance(size, int) for size in have + want) and have == want:
            return features
        begin = [(h - w) // 2 if self.offset == "center" else self.offset for h, w in zip(have, want, strict=True)]
        cropped = tf.slice(features, [0, *begin, 0], [-1, *want, -1])
        cropped.set_shape([features.shape[0], *reference.shape[1:3], features.shape[3]])  # a dynamic slice forgets
        return cropped

    def compute_output_shape(self, input_shape):
        features, reference = input_shape
        self._check(features[1:3], reference[1:3])
        return (features[0], *reference[1:3], features[3])

    def _check(self, have, want):
        start = 0 if self.offset == "center" else self.offset
        for axis, h, w in zip(("height", "width"), have, want, strict=True):
            if isinstance(h, int) and isinstance(w, int) and h < start + w:
                raise ValueError(
                    f"CropTo (offset={self.offset!r}) cannot cut {w} pixels out of {h} along the {axis}: the features, "
                    "first in the list, must be at least as large as the reference, second in the list"
                )

    def get_config(self):
        return {**super().get_config(), "offset": self.offset}


def _sizes(tensor):
    dynamic = tf.shape(tensor)
    return [dynamic[axis] if tensor.shape[axis] is None else int(tensor.shape[axis]) for axis in (1, 2)]
