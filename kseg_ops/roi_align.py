"""RoIAlign: boxes of a feature map, resampled to a fixed grid."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from kseg_ops import _library
from kseg_ops._checks import (
    MAX_SAMPLING_RATIO,
    as_flag,
    as_index_array,
    as_int,
    as_output_size,
    as_scale,
    reject_keras_tensors,
)
from kseg_ops._tensors import to_boxes, to_int32
from kseg_ops.reference.roi_align import roi_align as _reference

_FLOATS = (tf.float32, tf.float16, tf.bfloat16, tf.float64)


@tf.autograph.experimental.do_not_convert
def roi_align(
    features,
    boxes,
    box_indices,
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 2,
    aligned: bool = True,
) -> tf.Tensor:
    """Pools each box to `output_size` bins, each the mean of bilinear samples (He et al. 2017, "Mask R-CNN").

    Agrees with `torchvision.ops.roi_align` and with detectron2, but for the layout (channels last) and for the index of
    a box's image, which is an argument of its own here.

    ```
    box (x1, y1) +----+----+        output_size=(2, 2), sampling_ratio=2:
                 | .. | .. |        each bin averages 2 x 2 samples ('.'), and each sample interpolates between
                 | .. | .. |        its four neighbouring pixels. A sample more than a pixel outside the map
                 +----+----+        counts as 0; within that pixel it takes the value at the border.
                 | .. | .. |
                 | .. | .. |
                 +----+----+ (x2, y2)
    ```

    Args:
        features: float32, float16, bfloat16 or float64 `[B, H, W, C]`. Sums are float32 (float64 for float64).
        boxes: float32 `[K, 4]`: `x1, y1, x2, y2` in absolute pixels of the image, `x2` being the right edge of the
            last pixel (its index + 1). Arrays and lists are converted; a float64 tensor is cast. 16-bit boxes are
            refused: bfloat16 would round 1003.3 to 1004. A box with a coordinate that is not finite gives zeros.
        box_indices: int32 `[K]`: which image each box is in, `0..B-1`. Other integers are converted.
        output_size: bins `(h, w)`, or one int for both.
        spatial_scale: feature pixels per image pixel: 0.25 for features of stride 4. Rounded to float32,
            where it must be positive and not subnormal.
        sampling_ratio: samples per bin and axis, 1 to 128. 0 adapts to the box: `ceil(box size / bins)` in feature
            pixels, per axis. (torchvision and detectron2 take any negative number for that, too; here it is an error.)
        aligned: True: pixel centres lie at half-integer coordinates, as boxes are commonly meant; an empty or
            inverted box evaluates its degenerate grid (0 with adaptive sampling). False: the original form, without
            the shift of half a pixel and with boxes of at least 1 x 1 feature pixels; torchvision's Mask R-CNN uses it.

    Returns:
        `[K, h, w, C]` in the dtype of `features`.

    The gradient with respect to `features` is deterministic in the compiled form: bitwise equal from run to run and for
    any number of threads. `boxes` has none (None, not zeros).

    Compiles under XLA where shapes are static; without XLA support (see `kseg.show_config`), call it within
    `with kseg_ops.use_reference():` there.

    Raises:
        TypeError: a dtype is not supported, an argument is not a number of its kind, or a tensor is a KerasTensor.
        ValueError: a static shape does not fit, or an argument is out of range.
        tf.errors.InvalidArgumentError: `box_indices` out of range (the message names one), feature maps without
            pixels, or shapes known only at run time do not fit.

    Example:
        >>> ramp = tf.tile(tf.range(8.0)[None, None, :, None], [1, 8, 1, 1])  # pixel centres: x - 0.5
        >>> kseg_ops.roi_align(ramp, [[2.0, 2.0, 6.0, 6.0]], [0], output_size=2).numpy()[0, :, :, 0]
        array([[2.5, 4.5],
               [2.5, 4.5]], dtype=float32)
    """
    reject_keras_tensors(
        "roi_align",
        "kseg.layers.RoIAlign",
        features=features,
        boxes=boxes,
        box_indices=box_indices,
    )
    output_size = as_output_size(output_size)
    sampling_ratio = as_int("sampling_ratio", sampling_ratio, 0, MAX_SAMPLING_RATIO)
    spatial_scale = as_scale(spatial_scale)
    aligned = as_flag("aligned", aligned)
    features = tf.convert_to_tensor(features)
    if features.dtype not in _FLOATS:
        raise TypeError(f"features must be float32, float16, bfloat16 or float64, got {features.dtype.name}")
    boxes = to_boxes(boxes)
    box_indices = _as_indices(box_indices)
    _check_static_shapes(features.shape, boxes.shape, box_indices.shape)

    native = _library.native_op("roi_align")
    if native is None:
        return _reference(features, boxes, box_indices, output_size, spatial_scale, sampling_ratio, aligned)
    return native(
        features=features,
        boxes=boxes,
        box_indices=box_indices,
        output_size=output_size,
        spatial_scale=spatial_scale,
        sampling_ratio=sampling_ratio,
        aligned=aligned,
    )


def _as_indices(value) -> tf.Tensor:
    of_tensors = isinstance(value, (list, tuple)) and any(tf.is_tensor(index) for index in value)
    if isinstance(value, (list, tuple, np.ndarray)) and not of_tensors:
        return tf.convert_to_tensor(as_index_array(value))
    indices = tf.convert_to_tensor(value)
    if not indices.dtype.is_integer:
        raise TypeError(f"box_indices must be integers, got {indices.dtype.name}")
    # Saturating: a large int64 must not wrap around into a valid index.
    return to_int32(indices)


def _check_static_shapes(features: tf.TensorShape, boxes: tf.TensorShape, box_indices: tf.TensorShape) -> None:
    if features.rank not in (None, 4):
        raise ValueError(f"features must have shape [B, H, W, C], got {features}")
    if not boxes.is_compatible_with([None, 4]):
        raise ValueError(f"boxes must have shape [K, 4], got {boxes}")
    if not box_indices.is_compatible_with([None]):
        raise ValueError(f"box_indices must have shape [K], got {box_indices}")
    if boxes.rank is not None and not box_indices.is_compatible_with(boxes[:1]):
        raise ValueError(f"box_indices must have one entry per box, got shape {box_indices} for boxes of shape {boxes}")


def _attributes(op: tf.Operation) -> dict:
    return {name: op.get_attr(name) for name in ("output_size", "spatial_scale", "sampling_ratio", "aligned")}


@tf.RegisterGradient("Kseg>RoiAlign")
def _roi_align_gradient(op: tf.Operation, gradient: tf.Tensor):
    features, boxes, box_indices = op.inputs
    attributes = _attributes(op)
    native = _library.native_op("roi_align_grad")
    if native is not None:
        return [
            native(
                output_gradient=gradient,
                boxes=boxes,
                box_indices=box_indices,
                features_shape=tf.shape(features),
                **attributes,
            ),
            None,
            None,
        ]
    # The forward pass was native and this one is not to be, as in `with use_reference(): tape.gradient(...)`. The op is
    # linear: where its reference is differentiated does not matter.
    with tf.GradientTape() as tape:
        tape.watch(features)
        pooled = _reference(features, boxes, box_indices, tuple(attributes.pop("output_size")), **attributes)
    return [tape.gradient(pooled, features, gradient), None, None]


@tf.RegisterGradient("Kseg>RoiAlignGrad")
def _roi_align_grad_gradient(op: tf.Operation, gradient: tf.Tensor):
    # The op is linear in its first input, and its adjoint is RoIAlign itself.
    _, boxes, box_indices, _ = op.inputs
    return [roi_align(gradient, boxes, box_indices, **_attributes(op)), None, None, None]
