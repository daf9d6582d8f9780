"""What nms and batched_nms share with their NumPy forms: arguments and the result. Works without TensorFlow."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from kseg_ops._checks import as_flag, as_int

MAX_DETECTIONS = 1 << 20
METHODS = ("hard", "linear", "gaussian", "matrix")
MATRIX_KERNELS = ("gaussian", "linear")


class BatchedNMS(NamedTuple):
    """What `batched_nms` returns: `M = max_output_size` places for each of `B` images, best first.

    Places without a box hold zeros, and -1 in `classes` and `indices`.
    """

    boxes: Any  # float32 [B, M, 4], as they came in
    scores: Any  # float32 [B, M], after their decay
    classes: Any  # int32 [B, M]
    indices: Any  # int32 [B, M], the row of the input that the box stood in
    num_valid: Any  # int32 [B], how many places are taken


class BatchedOptions(NamedTuple):
    """The checked arguments of `batched_nms` that are no arrays, as the compiled op takes them."""

    iou_threshold: float
    score_threshold: float
    max_output_size: int
    max_per_class: int
    class_agnostic: bool
    sigma: float
    method: str


def as_number(name: str, value, least: float, most: float) -> float:
    """`value` as a float rounded to float32. TypeError if it is no number, ValueError outside `least..most`."""
    try:
        if isinstance(value, (bool, np.bool_, str, bytes, np.complexfloating)):
            raise TypeError
        with np.errstate(over="ignore", under="ignore"):
            number = float(np.float32(float(value)))
    except OverflowError:  # an int that no float holds
        number = math.inf if value > 0 else -math.inf
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a Python number, got {value!r} of type {type(value).__name__}") from None
    if math.isnan(number):
        raise ValueError(f"{name} must be a number, got NaN")
    # In float32 as well: 1e-6 is less than 1e-06 rounded, or more.
    if not (np.float32(least) <= number <= np.float32(most)):
        raise ValueError(f"{name} must be in {least:g}..{most:g}, got {value!r}")
    return number


def as_iou_threshold(value) -> float:
    """`iou_threshold`, rounded to float32."""
    return as_number("iou_threshold", value, 0.0, 1.0)


def as_score_threshold(value) -> float:
    """`score_threshold`, rounded to float32; None is -inf, which every number but -inf is above."""
    return -math.inf if value is None else as_number("score_threshold", value, -math.inf, math.inf)


def as_limit(name: str, value, least: int) -> int:
    """A limit on how many boxes are kept; None, no limit, is -1."""
    return -1 if value is None else as_int(name, value, least, 2**63 - 1)


def as_choice(name: str, value, choices: tuple[str, ...]) -> str:
    """`value`, which must be one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def as_batched_options(
    iou_threshold,
    score_threshold,
    max_output_size,
    max_per_class,
    kind,
    sigma,
    matrix_kernel,
    class_agnostic,
) -> BatchedOptions:
    """Checks what `batched_nms` is told beside its arrays."""
    kind = as_choice("kind", kind, METHODS)
    matrix_kernel = as_choice("matrix_kernel", matrix_kernel, MATRIX_KERNELS)
    return BatchedOptions(
        iou_threshold=as_iou_threshold(iou_threshold),
        score_threshold=as_score_threshold(score_threshold),
        max_output_size=as_int("max_output_size", max_output_size, 1, MAX_DETECTIONS),
        max_per_class=as_limit("max_per_class", max_per_class, 1),
        class_agnostic=as_flag("class_agnostic", class_agnostic),
        sigma=as_number("sigma", sigma, 1e-6, 1e6),
        method=f"matrix_{matrix_kernel}" if kind == "matrix" else kind,
    )


def class_ids_as_int32(value) -> np.ndarray:
    """Class ids as int32. TypeError if they are no integers, ValueError for one beyond int32."""
    ids = np.asarray(value)
    if ids.size == 0:
        return ids.astype(np.int32)
    if ids.dtype.kind not in "iu":
        raise TypeError(f"class_ids must be integers, got {ids.dtype}")
    limits = np.iinfo(np.int32)
    for extreme in (ids.max(), ids.min()):
        if not limits.min <= extreme <= limits.max:
            raise ValueError(f"class_ids must be in {limits.min}..{limits.max}, got {extreme}")
    return ids.astype(np.int32)
