"""Argument checks that the ops share with their NumPy forms. Works without TensorFlow."""

from __future__ import annotations

import math
import operator
import sys

import numpy as np

MAX_SAMPLING_RATIO = 128
MAX_OUTPUT_SIZE = 1 << 20
MAX_CROP_SIZE = 4096
# The matrix of int64 counts takes num_classes**2 * 8 bytes: 2 GiB here.
MAX_CLASSES = 16384
MAX_MAP_SIZE = 2**31 - 1
MAX_POOL_SIZE = 1 << 20

_BOX_DTYPES = {"float32", "float64", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}


def reject_keras_tensors(op: str, instead: str, **tensors) -> None:
    """Raises TypeError if an argument is a symbolic Keras tensor, naming what to use `instead`.

    Raw TensorFlow operations cannot be part of a functional Keras model; Keras's own message for that names neither the
    argument nor a remedy.
    """
    keras = sys.modules.get("keras")  # not imported yet: then nobody can have made a KerasTensor
    keras_tensor = getattr(keras, "KerasTensor", None)
    if keras_tensor is None:
        return
    for name, value in tensors.items():
        if isinstance(value, keras_tensor):
            raise TypeError(
                f"kseg_ops.{op} takes tensors, but {name} is a KerasTensor (a symbolic input of a functional Keras "
                f"model). Use {instead} instead."
            )


def as_int(name: str, value, least: int | None = None, most: int | None = None) -> int:
    """`value` as a Python int. TypeError if it is not one, ValueError outside `least..most`."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except (TypeError, AttributeError, NotImplementedError):  # the last two: of tensors that hold no number
        raise TypeError(f"{name} must be an integer, got {value!r} of type {type(value).__name__}") from None
    if (least is not None and number < least) or (most is not None and number > most):
        bounds = f"in {least}..{most}" if most is not None else f"at least {least}"
        raise ValueError(f"{name} must be {bounds}, got {number}")
    return number


def as_flag(name: str, value) -> bool:
    """`value` as a Python bool. TypeError if it is not one: "False" would count as true."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r} of type {type(value).__name__}")
    return bool(value)


def as_output_size(value) -> tuple[int, int]:
    """RoIAlign's `output_size`: an int or a pair of them."""
    try:
        pair = tuple(value)
    except TypeError:
        pair = (value, value)
    if len(pair) != 2:
        raise ValueError(f"output_size must be an int or (height, width), got {value!r}")
    height, width = (as_int("output_size", number, 1, MAX_OUTPUT_SIZE) for number in pair)
    return height, width


def as_map_size(value) -> tuple[int, int]:
    """resize_argmax's `size`: a pair of ints."""
    try:
        pair = tuple(value)
    except TypeError:
        pair = ()
    if len(pair) != 2:
        raise ValueError(f"size must be two integers, (height, width), got {value!r}")
    height, width = (as_int(f"size[{axis}]", number, 1, MAX_MAP_SIZE) for axis, number in enumerate(pair))
    return height, width


def as_crop_size(value) -> tuple[int, int]:
    """The `size` of crop_masks: an int or a pair of them."""
    try:
        pair = tuple(value)
    except TypeError:
        pair = (value, value)
    if len(pair) != 2:
        raise ValueError(f"size must be an int or (height, width), got {value!r}")
    height, width = (as_int("size", number, 1, MAX_CROP_SIZE) for number in pair)
    return height, width


def as_threshold(value) -> float | None:
    """The `threshold` of crop_masks: a finite number or None."""
    if value is None:
        return None
    if isinstance(value, (bool, str, bytes)):
        raise TypeError(f"threshold must be a number or None, got {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"threshold must be a number or None, got {value!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"threshold must be finite, got {number}")
    return number


def as_ignore_index(value) -> int | None:
    """`ignore_index`: an int64 or None."""
    return None if value is None else as_int("ignore_index", value, -(2**63), 2**63 - 1)


def as_class_weights(value) -> tuple[float, ...] | None:
    """resize_softmax_cross_entropy's `class_weights`: finite numbers of at least 0, or None."""
    if value is None:
        return None
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError
        weights = tuple(float(weight) for weight in value)
    except (TypeError, ValueError):
        raise TypeError(f"class_weights must be a sequence of numbers, one per class, got {value!r}") from None
    if not weights or not all(math.isfinite(np.float32(weight)) and weight >= 0 for weight in weights):
        raise ValueError(f"class_weights must be finite numbers of at least 0, one per class, got {value!r}")
    return weights


def as_label_smoothing(value) -> float:
    """resize_softmax_cross_entropy's `label_smoothing`: a number in [0, 1)."""
    try:
        if isinstance(value, (bool, str, bytes)):
            raise TypeError
        smoothing = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"label_smoothing must be a number, got {value!r} of type {type(value).__name__}") from None
    if not (smoothing >= 0 and np.float32(smoothing) < 1):
        raise ValueError(f"label_smoothing must be in [0, 1), got {value!r}")
    return smoothing


def as_scale(value) -> float:
    """RoIAlign's `spatial_scale`, rounded to float32."""
    try:
        if isinstance(value, (bool, np.bool_, str, bytes, np.complexfloating)):
            raise TypeError
        with np.errstate(over="ignore", under="ignore"):
            scale = float(np.float32(float(value)))
    except OverflowError:  # an int that no float holds
        scale = math.inf
    except (TypeError, ValueError):
        raise TypeError(
            f"spatial_scale must be a Python number, got {value!r} of type {type(value).__name__}"
        ) from None
    # Subnormal numbers count as 0 in TensorFlow's kernels.
    least = float(np.finfo(np.float32).tiny)
    if not (math.isfinite(scale) and scale >= least):
        raise ValueError(
            f"spatial_scale must be positive and finite in float32, got {value!r}; the least is {least:.8g}"
        )
    return scale


def check_box_dtype(name: str) -> None:
    """TypeError unless boxes of this dtype hold pixel coordinates exactly enough."""
    if name in ("float16", "bfloat16"):
        raise TypeError(
            f"boxes must be float32, got {name}, which cannot hold pixel coordinates (bfloat16 rounds 1003.3 to "
            "1004). Keep boxes out of mixed precision: a layer that takes them sets autocast=False"
        )
    if name not in _BOX_DTYPES:
        raise TypeError(f"boxes must be float32, got {name}")


def as_index_array(value) -> np.ndarray:
    """RoIAlign's `box_indices` as int32.

    Saturated, so that an index beyond int32 is refused as out of range instead of wrapping round into it.
    """
    indices = np.asarray(value)
    if indices.size == 0:
        return indices.astype(np.int32)
    if indices.dtype.kind == "O" and all(isinstance(index, int) for index in indices.flat):
        raise ValueError(f"box_indices must be in 0..B-1, got {max(indices.flat, key=abs)}, which int64 cannot hold")
    if indices.dtype.kind not in "iu":
        raise TypeError(f"box_indices must be integers, got {indices.dtype}")
    limits = np.iinfo(np.int32)
    return np.clip(indices, limits.min, limits.max).astype(np.int32)


def as_connectivity(value) -> int:
    """connected_components' `connectivity`: 4 or 8."""
    number = as_int("connectivity", value)
    if number not in (4, 8):
        raise ValueError(f"connectivity must be 4 (sides) or 8 (sides and corners), got {number}")
    return number


def as_pair(name: str, value, one: str, two: str) -> tuple:
    """A value for both axes, or one for each; `one` and `two` say so in the message."""
    try:
        pair = tuple(value)
    except TypeError:
        pair = (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name} must be {one} or ({two}), got {value!r}")
    return pair


def as_sampling(value) -> tuple[float, float]:
    """distance_transform's `sampling`: a number or a pair of them, for rows and columns."""
    pair = as_pair("sampling", value, "a number", "of rows, of columns")
    for number in pair:
        if isinstance(number, (bool, np.bool_)) or not isinstance(number, (int, float, np.integer, np.floating)):
            raise TypeError(f"sampling must be of Python numbers, got {number!r} of type {type(number).__name__}")
        if not 2.0**-60 <= number <= 2.0**60:  # False for NaN
            raise ValueError(f"sampling must be in 2**-60..2**60, got {number!r}")
    rows, columns = map(float, pair)
    return rows, columns


def as_window(name: str, value) -> tuple[int, int]:
    """A pooling window or its strides: an int or a pair of them."""
    height, width = (
        as_int(name, number, 1, MAX_POOL_SIZE) for number in as_pair(name, value, "an int", "height, width")
    )
    return height, width


def as_padding(value) -> str:
    """`padding` of a convolution or a pooling: "same" or "valid"."""
    if not isinstance(value, str) or value not in ("same", "valid"):
        raise ValueError(f'padding must be "same" or "valid", got {value!r}')
    return value


def as_unpooled_size(value) -> tuple[int, int]:
    """max_unpool2d's `output_size`: a pair of ints."""
    try:
        pair = tuple(value)
    except TypeError:
        pair = ()
    if len(pair) != 2:
        raise ValueError(f"output_size must be two integers, (height, width), got {value!r}")
    height, width = (as_int(f"output_size[{axis}]", number, 0, MAX_MAP_SIZE) for axis, number in enumerate(pair))
    if height * width > MAX_MAP_SIZE:
        raise ValueError(f"output_size must have fewer than 2**31 pixels, got {height} x {width}")
    return height, width


def as_place_array(value) -> np.ndarray:
    """max_unpool2d's `indices` as int32, saturated: what int32 cannot hold is out of range anyway."""
    indices = np.asarray(value)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"indices must be integers, got {indices.dtype}")
    limits = np.iinfo(np.int32)
    return indices.clip(limits.min, limits.max).astype(np.int32) if indices.dtype != np.int32 else indices
