"""Checks of options that the ops on masks share with their NumPy forms. Works without TensorFlow."""

from __future__ import annotations

import math

import numpy as np

from kseg_ops._checks import as_int

NMS_KINDS = ("hard", "soft", "matrix")
PASTE_MODES = ("detectron2", "torchvision")
PASTE_OUTPUTS = ("dense", "packed", "rle")
LEAST_SIGMA, MOST_SIGMA = 1e-6, 1e6
LEAST_PASTE_THRESHOLD, MOST_PASTE_THRESHOLD = 1e-12, 1e12
MAX_NMS_OUTPUTS = 1 << 28
# Pixel coordinates stay exact in float32.
MAX_PASTE_IMAGE_SIZE = 1 << 24


def as_number(name: str, value, least: float = -math.inf, most: float = math.inf) -> float:
    """A number as float. TypeError if it is none, ValueError for NaN or outside `least..most`."""
    try:
        if isinstance(value, (bool, np.bool_, str, bytes, np.complexfloating)):
            raise TypeError
        number = float(value)
    except OverflowError:  # an int that no float holds
        number = math.copysign(math.inf, value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a Python number, got {value!r} of type {type(value).__name__}") from None
    if not least <= number <= most:
        bounds = "" if math.isinf(least) else f" in {least:g}..{most:g}"
        raise ValueError(f"{name} must be a number{bounds}, got {value!r}")
    return number


def as_choice(name: str, value, choices: tuple[str, ...]) -> str:
    """One of some names."""
    if value not in choices:
        raise ValueError(f"{name} must be {', '.join(map(repr, choices[:-1]))} or {choices[-1]!r}, got {value!r}")
    return value


def as_float32(number: float) -> float:
    """Rounded to float32; subnormal numbers count as 0, as in the ops, and infinities stay."""
    with np.errstate(over="ignore", under="ignore"):
        narrow = np.float32(number)
    return 0.0 if abs(narrow) < np.finfo(np.float32).tiny else float(narrow)


def as_nms_options(kind, iou_threshold, score_threshold, max_output_size, sigma) -> dict:
    """The options of mask_nms, each checked and in its own type."""
    return {
        "kind": as_choice("kind", kind, NMS_KINDS),
        "iou_threshold": as_float32(as_number("iou_threshold", iou_threshold)),
        "score_threshold": (
            None if score_threshold is None else as_float32(as_number("score_threshold", score_threshold))
        ),
        "max_output_size": (
            None if max_output_size is None else as_int("max_output_size", max_output_size, 0, MAX_NMS_OUTPUTS)
        ),
        "sigma": as_number("sigma", sigma, LEAST_SIGMA, MOST_SIGMA),
    }


def as_paste_threshold(value) -> float:
    """The threshold of paste_masks, rounded to float32."""
    return float(np.float32(as_number("threshold", value, LEAST_PASTE_THRESHOLD, MOST_PASTE_THRESHOLD)))


def as_image_size(value) -> tuple[int, int]:
    """A pair of ints, height and width."""
    try:
        pair = tuple(value)
    except TypeError:
        pair = ()
    if len(pair) != 2:
        raise ValueError(f"image_size must be two integers, (height, width), got {value!r}")
    height, width = (as_int(f"image_size[{axis}]", number, 0, MAX_PASTE_IMAGE_SIZE) for axis, number in enumerate(pair))
    return height, width
