"""Non-maximum suppression of instances by the overlap of their masks."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops import _library
from kseg_ops._checks import reject_keras_tensors
from kseg_ops._mask_options import as_nms_options
from kseg_ops._masks import Suppressed, as_mask_boxes, as_masks, as_width, check_batch
from kseg_ops._nms_tensors import as_class_ids as _as_class_ids
from kseg_ops._tensors import axis_size, with_shape
from kseg_ops.reference.mask_nms import mask_nms as _reference


@tf.autograph.experimental.do_not_convert
def mask_nms(
    masks,
    scores,
    class_ids=None,
    iou_threshold: float = 0.5,
    kind: str = "hard",
    score_threshold: float | None = None,
    max_output_size: int | None = None,
    sigma: float = 0.5,
    width: int | None = None,
    boxes=None,
) -> Suppressed:
    """Drops, or scores down, masks that overlap better ones of their class.

    Kinds:
        - `"hard"`: a mask is dropped if its IoU with a better one that is kept is above `iou_threshold`.
        - `"soft"` (Bodla et al. 2017, "Soft-NMS", Gaussian form): the best remaining mask is taken and every other's
          score multiplied by `exp(-iou**2 / sigma)`, until none is left.
        - `"matrix"` (Wang et al. 2020, "SOLOv2", Gaussian form): all at once; a score is multiplied by the least over
          all better masks i of `exp(-iou**2 / sigma) / exp(-most_i**2 / sigma)`, `most_i` being the largest IoU of i
          with a mask better than i. The `sigma=2` of SOLOv2's published code, which multiplies, is 0.5 here.

    Of equal scores the lower index counts as better. A mask whose score is NaN is dropped. An empty mask has an IoU of
    0 with everything. Scores that are subnormal in float32 count as 0.

    Args:
        masks: bool or uint8 `[N, H, W]`, anything but 0 is set; or packed, see `width`.
        scores: floating `[N]`, cast to float32. Where scores decay, masks need positive ones: others are dropped.
        class_ids: integers `[N]`: masks of different classes leave each other alone, and -1 marks padding, which is
            dropped. None: all are of one class.
        iou_threshold: for "hard"; the other kinds do not look at it.
        kind: "hard", "soft" or "matrix".
        score_threshold: only masks with a score above it are kept; where scores decay, with a decayed score above it.
            None: no threshold, but for the kinds that decay scores it is 0.
        max_output_size: keep at most so many, the best. None: no limit.
        sigma: the Gaussian's, 1e-6 to 1e6; for "soft" and "matrix".
        width: W of packed masks, uint8 `[N, H, ceil(width / 8)]` as `kseg_ops.pack_masks` gives them; else None.
        boxes: float32 `[N, 4]`, x1 y1 x2 y2 in pixels, that hold the masks, as from a detector. Pixels that a mask's
            box does not touch count as background and are not read, which saves time; `kseg_ops.mask_iou` states it in
            full. None: all pixels count.

    Returns:
        `(indices, scores)`, a named tuple: int32 `[K]` into `masks`, by falling score, and the float32 scores `[K]`,
        decayed if so asked. Both forms of the op agree in every index and every bit of the scores.

    Raises:
        TypeError: a dtype or an argument's type is not supported, or a tensor is a KerasTensor.
        ValueError: a static shape does not fit, or an argument is out of range.
        tf.errors.InvalidArgumentError: shapes known only at run time do not fit.

    The op has no gradient. The number of masks kept depends on the data, so that XLA cannot compile either form;
    `kseg.layers.MaskNMS` gives results of fixed size.

    Example:
        >>> masks = tf.constant([[[1, 1, 1, 0]], [[1, 1, 0, 0]], [[0, 0, 0, 1]]], tf.uint8)
        >>> kept = kseg_ops.mask_nms(masks, [0.8, 0.9, 0.3])
        >>> kept.indices.numpy()
        array([1, 2], dtype=int32)
        >>> kseg_ops.mask_nms(masks, [0.8, 0.9, 0.3], kind="soft").scores.numpy().round(3)
        array([0.9  , 0.329, 0.3  ], dtype=float32)
    """
    reject_keras_tensors(
        "mask_nms", "kseg.layers.MaskNMS", masks=masks, scores=scores, class_ids=class_ids, boxes=boxes
    )
    width = as_width(width)
    masks = as_masks("masks", masks, width, 3)
    scores = as_scores(scores)
    class_ids = as_class_ids(class_ids, scores)
    for name, value in (("scores", scores), ("class_ids", class_ids)):
        if value.shape.rank not in (None, 1):
            raise ValueError(f"{name} must have shape [N], got {value.shape}")
        check_batch(name, value, masks.shape, 1)
    class_ids = with_shape(class_ids, [axis_size(masks, 0)], "class_ids must have one entry per mask")
    boxes = as_mask_boxes("boxes", boxes, masks)
    indices, scores, number = padded_mask_nms(
        masks[None],
        scores[None],
        class_ids[None],
        max_output_size,
        kind=kind,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        sigma=sigma,
        width=width,
        boxes=None if boxes is None else boxes[None],
    )
    return Suppressed(indices[0, : number[0]], scores[0, : number[0]])


@tf.autograph.experimental.do_not_convert
def padded_mask_nms(
    masks: tf.Tensor,
    scores: tf.Tensor,
    class_ids: tf.Tensor,
    max_output_size: int | None,
    *,
    kind: str,
    iou_threshold: float,
    score_threshold: float | None,
    sigma: float,
    width: int | None = None,
    boxes: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """`mask_nms` for a batch with results of fixed size, for `kseg.layers.MaskNMS`.

    Takes masks `[B, N, H, W]` (bool or uint8, or packed), scores float32 `[B, N]`, class ids int32 `[B, N]`, and boxes
    float32 `[B, N, 4]` or None. Returns indices int32 `[B, K]` padded with -1, scores float32 `[B, K]` padded with 0,
    and int32 `[B]`, how many are valid. K is `max_output_size`, or N if that is None.
    """
    options = as_nms_options(kind, iou_threshold, score_threshold, max_output_size, sigma)
    native = _library.native_op("mask_nms")
    if native is None:
        return _reference(masks, scores, class_ids, width=width, boxes=boxes, **options)
    least = options.pop("score_threshold")
    size = options.pop("max_output_size")
    return native(
        masks=masks,
        scores=scores,
        class_ids=class_ids,
        boxes=tf.zeros([0, 0, 4]) if boxes is None else boxes,
        max_output_size=-1 if size is None else size,
        score_threshold=0.0 if least is None else least,
        has_score_threshold=least is not None,
        width=-1 if width is None else width,
        **options,
    )


def as_scores(value) -> tf.Tensor:
    """Scores as float32."""
    if not tf.is_tensor(value) and not hasattr(value, "dtype"):
        return tf.convert_to_tensor(value, tf.float32)
    scores = tf.convert_to_tensor(value)
    if not scores.dtype.is_floating:
        raise TypeError(f"scores must be floating, got {scores.dtype.name}")
    return tf.cast(scores, tf.float32)


def as_class_ids(value, scores: tf.Tensor) -> tf.Tensor:
    """Class ids as int32; zeros in the shape of the scores for None."""
    if value is None:
        return tf.zeros_like(scores, tf.int32)
    return _as_class_ids(value)


_library.register_gradient("Kseg>MaskNms")(None)
