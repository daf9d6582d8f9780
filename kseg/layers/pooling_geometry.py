"""How many windows pooling has, and how many pixels they come from."""

from __future__ import annotations

from kseg_ops._checks import as_padding


def pooling_window(pool_size, strides, padding):
    """The window and its strides as pairs.

    Raises:
        TypeError: one of them is not of integers.
        ValueError: an argument is out of range.
    """
    as_padding(padding)
    pool = _pair("pool_size", pool_size)
    return pool, pool if strides is None else _pair("strides", strides)


def pooled_size(size, pool, stride, padding):
    """The number of windows along an axis; None for an unknown size."""
    if size is None:
        return None
    return -(-size // stride) if padding == "same" else max((size - pool) // stride + 1, 0)


def unpooled_size(size, pool, stride, padding):
    """The pixels along an axis that this many windows cover; None for an unknown number.

    It is the least size that gives so many windows with "valid", and the largest with "same".
    """
    if size is None:
        return None
    return size * stride if padding == "same" else (size - 1) * stride + pool


def _pair(name, value):
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name} must be an int or (height, width); got {value!r}")
    for number in pair:
        if not isinstance(number, int) or isinstance(number, bool):
            raise TypeError(f"{name} must be of integers; got {value!r}")
        if number < 1:
            raise ValueError(f"{name} must be at least 1; got {value!r}")
    return pair
