"""Checks of the arguments that models, losses and metrics have in common."""

from __future__ import annotations

import math
import numbers

MAX_CLASSES = 65536  # the values of a 16-bit mask


def check_num_classes(num_classes):
    """The number of classes, checked.

    Raises:
        ValueError: no int from 1 to 65536.
    """
    if not isinstance(num_classes, int) or isinstance(num_classes, bool) or num_classes < 1:
        raise ValueError(f"num_classes must be a positive int; got {num_classes!r}")
    if num_classes > MAX_CLASSES:
        raise ValueError(
            f"num_classes must be at most {MAX_CLASSES}, the number of values of a 16-bit mask, because every pixel "
            f"has one logit per class; got {num_classes!r}. Instance numbers are no classes"
        )
    return num_classes


def check_ignore_index(ignore_index):
    """The label of void pixels as a Python int, or None.

    Raises:
        ValueError: neither an int nor None; an int that no 64-bit label can hold.
    """
    if ignore_index is None:
        return None
    if isinstance(ignore_index, bool) or not isinstance(ignore_index, numbers.Integral):
        raise ValueError(f"ignore_index must be an int or None; got {ignore_index!r}")
    if not -(2**63) <= ignore_index < 2**63:
        raise ValueError(f"ignore_index must fit into 64 bits, because labels do; got {ignore_index!r}")
    return int(ignore_index)


def check_flag(name, value):
    """A bool, checked.

    Raises:
        ValueError: no bool.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False; got {value!r}")
    return value


def is_finite_number(value):
    """Whether a value is a real number, neither NaN nor infinite; strings and bools are none."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
