"""Suppression for a batch of images, with outputs of a fixed size."""

from __future__ import annotations

import tensorflow as tf

from kseg_ops import _library
from kseg_ops._checks import reject_keras_tensors
from kseg_ops._nms_arguments import BatchedNMS, as_batched_options
from kseg_ops._nms_tensors import as_boxes, as_class_ids, as_scores
from kseg_ops._tensors import axis_size, with_shape
from kseg_ops.reference.batched_nms import batched_nms as _reference


@tf.autograph.experimental.do_not_convert
def batched_nms(
    boxes,
    scores,
    iou_threshold: float = 0.5,
    score_threshold: float | None = None,
    max_output_size: int = 100,
    max_per_class: int | None = None,
    class_ids=None,
    kind: str = "hard",
    sigma: float = 0.5,
    matrix_kernel: str = "gaussian",
    class_agnostic: bool = False,
) -> BatchedNMS:
    """The best boxes of each image after hard, soft or matrix suppression, as tensors of a fixed size.

    Each pair of a row and a class is a candidate. Candidates of different classes do not meet. Boxes, IoU and the order
    of equal scores are as in `kseg_ops.nms`.

    - `kind="hard"`: the best candidate is kept and drops those whose IoU with it is above `iou_threshold`.
    - `"linear"`, `"gaussian"`: Soft-NMS (Bodla et al. 2017). The best candidate is kept and lowers the scores of the
      others: by the factor `1 - iou` where the IoU is above `iou_threshold`, or by `exp(-iou**2 / sigma)`.
    - `"matrix"`: matrix NMS (Wang et al. 2020, "SOLOv2"), here on boxes. All scores are lowered at once: candidate `j`
      by the least `f(iou(i, j)) / f(c(i))` over the better candidates `i`, where `c(i)` is the largest IoU of `i` with
      one better than itself, and `f(iou)` is `exp(-iou**2 / sigma)` or, with `matrix_kernel="linear"`, `1 - iou`. An
      `i` with `f(c(i)) = 0` counts for nothing, and no factor is above 1. `iou_threshold` plays no part.

    Args:
        boxes: float32 `[B, N, 4]`: `x1, y1, x2, y2`; or `[B, N, C, 4]`, a box of its own for each class. Converted as
            in `kseg_ops.nms`.
        scores: floating `[B, N]`, or `[B, N, C]`; compared as float32.
        iou_threshold: 0 to 1.
        score_threshold: candidates need a score above it, with the kinds that lower scores also after that; these
            kinds need scores above 0 in any case, and take infinity for the largest number. None: no threshold but
            that. A score of NaN or -inf is never kept.
        max_output_size: `M`, how many places an image has, 1 to 2**20.
        max_per_class: how many of one class are kept at most (with `class_agnostic` too: of all together). None: any
            number.
        class_ids: integers `[B, N]`, the class of each row, a negative one marking a row of padding. Only with scores
            `[B, N]`; None: all of class 0.
        kind: `"hard"`, `"linear"`, `"gaussian"` or `"matrix"`.
        sigma: of the Gaussian functions, 1e-6 to 1e6.
        matrix_kernel: `"gaussian"` or `"linear"`.
        class_agnostic: whether candidates of different classes do meet. They keep their classes.

    Returns:
        A named tuple `BatchedNMS`: `boxes` float32 `[B, M, 4]`, `scores` float32 `[B, M]` (as lowered), `classes` int32
        `[B, M]`, `indices` int32 `[B, M]` (rows of the input) and `num_valid` int32 `[B]`. In falling order of score,
        of equal ones in rising order of row and class. Places beyond `num_valid` hold boxes and scores of 0, and -1 for
        class and index.

    There is no gradient, not even to the lowered scores. For one to the boxes, gather them by `indices`
    (`tf.maximum(indices, 0)`: the -1 of padding is no index).

    Compiled and reference forms give the same result to the bit, on every instruction set and for any number of
    threads. The exponential is our own for that: it is exact to a few units in the last place, and the same everywhere.

    Compiles under XLA where shapes are static; without XLA support (see `kseg.show_config`), call it within
    `with kseg_ops.use_reference():` there.

    Matrix NMS compares all pairs of a class until no candidate to come can be among the best; the other kinds stop
    when `M` are picked.

    Raises:
        TypeError: a dtype is not supported, an argument is not a number of its kind, or a tensor is a KerasTensor.
        ValueError: a static shape does not fit, or an argument is out of range.
        tf.errors.InvalidArgumentError: shapes known only at run time do not fit.

    Example:
        >>> boxes = tf.constant([[[0.0, 0, 10, 10], [0.0, 0, 10, 8], [20.0, 0, 30, 10]]])
        >>> found = kseg_ops.batched_nms(boxes, [[0.9, 0.8, 0.7]], max_output_size=3)
        >>> found.indices.numpy()
        array([[ 0,  2, -1]], dtype=int32)
        >>> soft = kseg_ops.batched_nms(boxes, [[0.9, 0.8, 0.7]], max_output_size=3, kind="linear")
        >>> soft.indices.numpy(), soft.scores.numpy().round(2)
        (array([[0, 2, 1]], dtype=int32), array([[0.9 , 0.7 , 0.16]], dtype=float32))
    """
    tensors = {"boxes": boxes, "scores": scores}
    reject_keras_tensors(
        "batched_nms",
        "kseg.layers.NonMaxSuppression",
        **tensors,
        **({} if class_ids is None else {"class_ids": class_ids}),
    )
    options = as_batched_options(
        iou_threshold, score_threshold, max_output_size, max_per_class, kind, sigma, matrix_kernel, class_agnostic
    )
    boxes = as_boxes(boxes)
    scores = as_scores(scores)
    class_ids = None if class_ids is None else as_class_ids(class_ids)
    _check_static_shapes(boxes.shape, scores.shape, None if class_ids is None else class_ids.shape)
    if class_ids is not None:
        # Here, because the op takes no class_ids for none.
        sizes = [axis_size(scores, 0), axis_size(scores, 1)]
        class_ids = with_shape(class_ids, sizes, "class_ids must have the shape of scores [B, N]")

    native = _library.native_op("batched_nms")
    if native is None:
        boxes, scores = _with_rank("boxes", boxes), _with_rank("scores", scores)
        return _reference(boxes, scores, class_ids, options)
    found = native(
        boxes=boxes,
        scores=scores,
        class_ids=tf.zeros([0, 0], tf.int32) if class_ids is None else class_ids,
        **options._asdict(),
    )
    return BatchedNMS(*found)


def _with_rank(name: str, tensor: tf.Tensor) -> tf.Tensor:
    if tensor.shape.rank is None:
        raise ValueError(
            f"{name} must have a known rank for the reference of batched_nms; "
            f"tf.ensure_shape({name}, [None, ...]) gives it one"
        )
    return tensor


def _check_static_shapes(boxes: tf.TensorShape, scores: tf.TensorShape, class_ids: tf.TensorShape | None) -> None:
    if boxes.rank not in (None, 3, 4) or (boxes.rank and boxes[-1] not in (None, 4)):
        raise ValueError(f"boxes must have shape [B, N, 4] or [B, N, C, 4], got {boxes}")
    if scores.rank not in (None, 2, 3):
        raise ValueError(f"scores must have shape [B, N] or [B, N, C], got {scores}")
    images_and_rows = boxes[:2] if boxes.rank else tf.TensorShape([None, None])
    if scores.rank and not scores[:2].is_compatible_with(images_and_rows):
        raise ValueError(f"scores must have the images and rows of boxes, got shape {scores} for boxes {boxes}")
    classes = scores[2] if scores.rank == 3 else 1 if scores.rank else None
    if classes == 0:
        raise ValueError(f"scores must have at least one class, got shape {scores}")
    sets = boxes[2] if boxes.rank == 4 else 1
    if None not in (sets, classes) and sets not in (1, classes):
        raise ValueError(f"boxes must be one per row or one for each of the {classes} classes of scores, got {boxes}")
    if class_ids is None:
        return
    if scores.rank == 3:
        raise ValueError(
            f"class_ids must not be given with scores [B, N, C], whose last axis is the class; got {scores}"
        )
    if not (class_ids.is_compatible_with([None, None]) and class_ids.is_compatible_with(scores[:2])):
        raise ValueError(f"class_ids must have the shape of scores, {scores}, got {class_ids}")


_library.register_gradient("Kseg>BatchedNms")(None)
