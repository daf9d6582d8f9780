"""Non-maximum suppression of instance masks, with results of fixed size."""

from __future__ import annotations

import keras
import tensorflow as tf

from kseg.layers.native_layer import NativeLayer
from kseg_ops._checks import as_int
from kseg_ops._mask_options import as_nms_options, as_number
from kseg_ops.mask_nms import as_class_ids, as_scores, padded_mask_nms


@keras.saving.register_keras_serializable(package="kseg")
class MaskNMS(NativeLayer):
    """Keeps the best of overlapping instance masks of each image; `kseg_ops.mask_nms` states the semantics.

    Args:
        max_output_size: K, how many masks per image the results have room for.
        iou_threshold: with `kind="hard"`, a mask goes if its IoU with a better one that is kept is above it.
        kind: "hard", "soft" (Gaussian; Bodla et al. 2017) or "matrix" (Wang et al. 2020, SOLOv2).
        score_threshold: only masks with a score above it are kept, decayed if the kind decays scores. None: no
            threshold (0 where scores decay).
        sigma: of the Gaussian `exp(-iou**2 / sigma)` of "soft" and "matrix".
        mask_threshold: a pixel of a floating mask is part of the instance if it is above this.
        **kwargs: of `keras.layers.Layer`.

    Inputs: a list of
        - masks `[B, N, H, W]`: floating (probabilities, or logits with `mask_threshold=0`), bool, or integers (anything
          but 0 is part of the instance);
        - scores, floating `[B, N]`;
        - optionally class ids, integers `[B, N]`: masks of different classes leave each other alone, and -1 marks
          padding.

    Returns:
        A dictionary of tensors, best first, every one with room for K per image:
        - `"masks"`: `[B, K, H, W]`, those of the input in its dtype (zeros in padding), so that gradients flow to them;
        - `"scores"`: float32 `[B, K]`, decayed unless hard (0 in padding), without gradient;
        - `"class_ids"`: int32 `[B, K]`, 0 if none came in, and -1 for padding;
        - `"indices"`: int32 `[B, K]` into N, and -1 for padding.

    Inputs are not autocast: under mixed precision scores stay as exact as they come.

    Example:
        >>> import numpy as np
        >>> masks = np.array([[[[1, 1, 1, 0]], [[1, 1, 0, 0]], [[0, 0, 0, 1]]]], "float32")
        >>> kept = MaskNMS(max_output_size=3)([masks, np.array([[0.8, 0.9, 0.3]], "float32")])
        >>> kept["indices"].numpy()
        array([[ 1,  2, -1]], dtype=int32)
    """

    native_ops = ("mask_nms",)

    def __init__(
        self,
        max_output_size: int = 100,
        iou_threshold: float = 0.5,
        kind: str = "hard",
        score_threshold: float | None = None,
        sigma: float = 0.5,
        mask_threshold: float = 0.5,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        as_nms_options(kind, iou_threshold, score_threshold, as_int("max_output_size", max_output_size), sigma)
        as_number("mask_threshold", mask_threshold)
        self.max_output_size = max_output_size
        self.iou_threshold = iou_threshold
        self.kind = kind
        self.score_threshold = score_threshold
        self.sigma = sigma
        self.mask_threshold = mask_threshold

    def call(self, inputs):
        masks, scores, class_ids = _three(inputs)
        masks = tf.convert_to_tensor(masks)
        scores = as_scores(scores)
        class_ids = as_class_ids(class_ids, scores)
        if masks.dtype.is_floating:
            binary = masks > tf.cast(self.mask_threshold, masks.dtype)
        else:
            binary = tf.cast(masks, tf.bool)
        indices, kept_scores, _ = padded_mask_nms(
            binary,
            tf.stop_gradient(scores),
            class_ids,
            self.max_output_size,
            kind=self.kind,
            iou_threshold=self.iou_threshold,
            score_threshold=self.score_threshold,
            sigma=self.sigma,
        )
        valid = indices >= 0
        # One more mask behind the others for padding to point at, so that there is one even of none.
        found = tf.where(valid, indices, tf.shape(masks)[1])
        room = tf.pad(masks, [[0, 0], [0, 1], [0, 0], [0, 0]])
        class_ids = tf.pad(class_ids, [[0, 0], [0, 1]], constant_values=-1)
        return {
            "masks": tf.gather(room, found, batch_dims=1),
            "scores": kept_scores,
            "class_ids": tf.gather(class_ids, found, batch_dims=1),
            "indices": indices,
        }

    def compute_output_shape(self, input_shape):
        masks, *_ = _three(input_shape)
        batch, _, height, width = masks
        kept = (batch, self.max_output_size)
        return {"masks": (*kept, height, width), "scores": kept, "class_ids": kept, "indices": kept}

    def compute_output_spec(self, inputs, **kwargs):
        masks, scores, class_ids = _three(inputs)
        if len(masks.shape) != 4:
            raise ValueError(f"masks must have shape [B, N, H, W], got {masks.shape}")
        for name, value in (("scores", scores), ("class_ids", class_ids)):
            if value is not None and len(value.shape) != 2:
                raise ValueError(f"{name} must have shape [B, N], got {value.shape}")
        dtypes = {"masks": masks.dtype, "scores": "float32", "class_ids": "int32", "indices": "int32"}
        shapes = self.compute_output_shape([masks.shape, scores.shape])
        return {name: keras.KerasTensor(shape, dtypes[name]) for name, shape in shapes.items()}

    def get_config(self):
        return {
            **super().get_config(),
            "max_output_size": self.max_output_size,
            "iou_threshold": self.iou_threshold,
            "kind": self.kind,
            "score_threshold": self.score_threshold,
            "sigma": self.sigma,
            "mask_threshold": self.mask_threshold,
        }


def _three(inputs) -> tuple:
    """Masks, scores, and class ids or None."""
    if not isinstance(inputs, (list, tuple)) or len(inputs) not in (2, 3):
        raise ValueError("MaskNMS takes a list of inputs: [masks, scores] or [masks, scores, class_ids]")
    return (*inputs, None)[:3]
