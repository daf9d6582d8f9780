"""Checks of the arguments that the functions over data share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real

from kseg.data.errors import DataError

# More than any data set has; a mistyped number would fill the memory with lists as long.
MAX_CLASSES = 65536


def check_arguments(
    channels=None,
    num_classes=None,
    ignore_index=None,
    mask_suffix="",
    mask_values=None,
    input_range=None,
    class_names=None,
) -> None:
    """Raises TypeError or ValueError that names the argument, what was expected and what came."""
    if channels is not None:
        check_whole("channels", channels, "an integer of at least 1, or None", 1)
    if num_classes is not None:
        check_num_classes(num_classes)
    if ignore_index is not None:
        check_whole("ignore_index", ignore_index, "an integer that is no class, or None")
        classes = max(num_classes or 2, 2)
        if 0 <= ignore_index < classes:
            raise ValueError(
                f"ignore_index={ignore_index} is one of the classes 0..{classes - 1}: expected a value outside, such "
                "as 255, or None. To leave a class out, translate it with mask_values"
            )
    if not isinstance(mask_suffix, str):
        raise TypeError(f"mask_suffix must be text, such as '_mask' ('' for none), got {mask_suffix!r}")
    _check_mask_values(mask_values)
    if input_range is not None:
        check_input_range(input_range)
    if class_names is not None:
        check_class_names(class_names)


def check_num_classes(num_classes) -> None:
    """Raises TypeError or ValueError unless `num_classes` is an integer from 1 to `MAX_CLASSES`."""
    check_whole("num_classes", num_classes, f"an integer from 1 to {MAX_CLASSES}", 1, MAX_CLASSES)


def check_input_range(input_range) -> None:
    """Raises TypeError or ValueError unless `input_range` is (lowest, highest), finite, and lowest < highest."""
    expected = "input_range must be (lowest, highest), two finite numbers with lowest < highest"
    try:
        low, high = input_range
    except (TypeError, ValueError):
        raise TypeError(f"{expected}, got {input_range!r}") from None
    if not isinstance(low, Real) or not isinstance(high, Real):
        raise TypeError(f"{expected}, got {input_range!r}")
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"{expected}, got {input_range!r}")


def check_class_names(class_names: Sequence[str], where: str = "class_names") -> None:
    """Raises TypeError or ValueError unless `class_names` is a sequence of different, non-empty texts."""
    if isinstance(class_names, str) or not all(isinstance(name, str) for name in class_names):
        raise TypeError(f"{where} must be a sequence of texts, one per class, got {class_names!r}")
    if not len(class_names):
        raise ValueError(f"{where} must hold one name per class, got none")
    twice = sorted({name for name in class_names if list(class_names).count(name) > 1})
    if twice:
        raise ValueError(f"{where} must hold different names, got {twice[0]!r} more than once")


def check_flag(name: str, value) -> None:
    """Raises TypeError unless `value` is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")


def check_number(name: str, value, low: float, high: float) -> None:
    """Raises ValueError unless `value` is a number in `low`..`high`."""
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= value <= high:
        allowed = f"at least {low}" if high == math.inf else f"in {low}..{high}"
        raise ValueError(f"{name} must be a number {allowed}, got {value!r}")


def check_scale(scale) -> None:
    """Raises ValueError unless `scale` is a number of at least 0, or a pair (lowest, highest) of factors."""
    if not isinstance(scale, (tuple, list)):
        check_number("scale", scale, 0, math.inf)
    elif len(scale) != 2 or not 0 < scale[0] <= scale[1]:
        raise ValueError(f"scale must be a number or (lowest, highest) with 0 < lowest <= highest, got {scale}")


def check_whole(name: str, value, expected: str, least: float = -math.inf, most: float = math.inf) -> None:
    """Raises TypeError or ValueError that says what was `expected` unless `value` is an integer in `least`..`most`."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be {expected}, got {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name} must be {expected}, got {value!r}")


def _check_mask_values(mask_values) -> None:
    if mask_values is None:
        return
    if not isinstance(mask_values, dict):
        raise TypeError(
            f"mask_values must be a dict from stored value to class, such as {{0: 0, 255: 1}}, got {mask_values!r}"
        )
    if not mask_values:
        raise ValueError("mask_values must name at least one stored value, such as {0: 0, 255: 1}, got {}")
    for stored, label in mask_values.items():
        parts = stored if isinstance(stored, tuple) else (stored,)
        if not all(isinstance(part, Integral) for part in parts):
            raise TypeError(f"mask_values must have integers or colours (tuples of integers) as keys, got {stored!r}")
        if not isinstance(label, Integral):
            raise TypeError(f"mask_values must have class numbers (integers) as values, got {stored!r}: {label!r}")
        if not -(2**31) <= label < 2**31:
            raise ValueError(f"mask_values must have class numbers as values, got {stored!r}: {label!r}")


def check_resumption(epoch, start_batch, batches) -> None:
    """ValueError unless a pipeline of so many batches per epoch can start there."""
    if epoch is None and start_batch:
        raise ValueError(f"start_batch={start_batch} needs epoch: say which epoch is resumed")
    if epoch is not None and epoch < 0:
        raise ValueError(f"epoch must be None or at least 0, got {epoch}")
    if not 0 <= start_batch <= batches:
        raise ValueError(f"start_batch must lie in 0..{batches} (the batches of an epoch), got {start_batch}")


def checked_indices(indices, count: int) -> list[int]:
    """Positions in a source of `count` samples as a list of ints; DataError names the first one outside."""
    indices = [int(index) for index in indices]
    outside = [index for index in indices if not 0 <= index < count]
    if outside:
        raise DataError(f"indices must lie in 0..{count - 1}, got {outside[0]}")
    return indices
