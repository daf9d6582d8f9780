"""Non-maximum suppression of boxes."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops import _library
from kseg_ops._checks import reject_keras_tensors
from kseg_ops._nms_arguments import as_iou_threshold, as_limit, as_score_threshold
from kseg_ops._nms_tensors import as_boxes, as_class_ids, as_scores
from kseg_ops._tensors import axis_size, with_shape
from kseg_ops.reference.nms import nms as _reference


@tf.autograph.experimental.do_not_convert
def nms(
    boxes,
    scores,
    iou_threshold: float,
    max_output_size: int | None = None,
    score_threshold: float | None = None,
    class_ids=None,
) -> tf.Tensor:
    """Drops every box that overlaps a better one of its class by more than a threshold.

    The usual greedy rule: the best box is kept, those that overlap it are dropped, the best of the rest is kept, and so
    on. Agrees with `torchvision.ops.nms`, and with `class_ids` with running that on each class: boxes of different
    classes never meet, without any shift of coordinates that would cost them precision.

    - The IoU is the float32 quotient intersection / (a + b - intersection). A box is dropped if it is *above* the
      threshold (rounded to float32): boxes that overlap by just the threshold are both kept.
    - Of equal scores the lower index comes first. A score of NaN or -inf is never kept.
    - A box that is empty or inverted, or has a coordinate that is not finite or an area of more than `2**126`, has an
      IoU of 0 with every box: it drops none and is dropped by none. Coordinates within `2**-36` of 0 count as 0.

    Args:
        boxes: float32 `[N, 4]`: `x1, y1, x2, y2`. Arrays and lists are converted; a float64 tensor is cast. 16-bit
            boxes are refused: bfloat16 would round 1003.3 to 1004.
        scores: floating `[N]`; compared as float32.
        iou_threshold: 0 to 1.
        max_output_size: how many boxes are kept at most. None: any number.
        score_threshold: only boxes with a score above it take part. None: no threshold.
        class_ids: integers `[N]`, a negative one marking a row of padding, which is never kept. None: one class.

    Returns:
        int32 `[K]`: the indices of the kept boxes, best first. `K` depends on the values; `batched_nms` has outputs of
        a fixed size.

    The op has no gradient. It gives the same indices compiled, in its reference, on every instruction set and for any
    number of threads. XLA can compile neither form, because of the size of the result: use `batched_nms` there.

    Raises:
        TypeError: a dtype is not supported, an argument is not a number of its kind, or a tensor is a KerasTensor.
        ValueError: a static shape does not fit, or an argument is out of range.
        tf.errors.InvalidArgumentError: shapes known only at run time do not fit.

    Example:
        >>> boxes = [[0.0, 0.0, 10.0, 10.0], [1.0, 0.0, 11.0, 10.0], [20.0, 0.0, 30.0, 10.0]]
        >>> kseg_ops.nms(boxes, [0.8, 0.9, 0.1], iou_threshold=0.5).numpy()
        array([1, 2], dtype=int32)
        >>> kseg_ops.nms(boxes, [0.8, 0.9, 0.1], iou_threshold=0.5, class_ids=[0, 7, 0]).numpy()
        array([1, 0, 2], dtype=int32)
    """
    reject_keras_tensors(
        "nms", "kseg.layers.NonMaxSuppression", boxes=boxes, scores=scores, **_given(class_ids=class_ids)
    )
    iou_threshold = as_iou_threshold(iou_threshold)
    score_threshold = as_score_threshold(score_threshold)
    max_output_size = as_limit("max_output_size", max_output_size, 0)
    boxes = as_boxes(boxes)
    scores = as_scores(scores)
    class_ids = None if class_ids is None else as_class_ids(class_ids)
    _check_static_shapes(boxes.shape, scores.shape, None if class_ids is None else class_ids.shape)
    if class_ids is not None:
        # Here, because the op takes no class_ids for none.
        class_ids = with_shape(class_ids, [axis_size(boxes, 0)], "class_ids must have one entry per box")

    native = _library.native_op("nms")
    if native is None:
        return _reference(boxes, scores, class_ids, iou_threshold, score_threshold, max_output_size)
    return native(
        boxes=boxes,
        scores=scores,
        class_ids=tf.zeros([0], tf.int32) if class_ids is None else class_ids,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        max_output_size=max_output_size,
    )


def _given(**tensors) -> dict:
    return {name: value for name, value in tensors.items() if value is not None}


def _check_static_shapes(boxes: tf.TensorShape, scores: tf.TensorShape, class_ids: tf.TensorShape | None) -> None:
    if not boxes.is_compatible_with([None, 4]):
        raise ValueError(f"boxes must have shape [N, 4], got {boxes}")
    count = boxes[:1] if boxes.rank is not None else tf.TensorShape([None])
    for name, shape in (("scores", scores), ("class_ids", class_ids)):
        if shape is None:
            continue
        if not shape.is_compatible_with([None]):
            raise ValueError(f"{name} must have shape [N], got {shape}")
        if not shape.is_compatible_with(count):
            raise ValueError(f"{name} must have one entry per box, got shape {shape} for boxes of shape {boxes}")


_library.register_gradient("Kseg>Nms")(None)
