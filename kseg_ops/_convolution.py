"""Arguments that the convolutions share: rate, padding, activation. Works without TensorFlow."""

from __future__ import annotations

from kseg_ops._checks import as_int

ACTIVATIONS = ("linear", "relu", "relu6", "hard_sigmoid", "hard_silu")
PADDINGS = ("same", "valid")
MAX_RATE = 1 << 16


def as_rate(value, name: str = "rate") -> tuple[int, int]:
    """A dilation rate: an int or a pair of them, for rows and columns."""
    try:
        pair = tuple(value)
    except TypeError:
        pair = (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name} must be an int or (rows, columns), got {value!r}")
    rows, columns = (as_int(name, number, 1, MAX_RATE) for number in pair)
    return rows, columns


def as_padding(value) -> str:
    """A padding: same or valid."""
    if not isinstance(value, str) or value not in PADDINGS:
        raise ValueError(f'padding must be "same" or "valid", got {value!r}')
    return value


def as_activation(value, name: str = "activation") -> str:
    """The name of an activation; None is "linear"."""
    if value is None:
        return "linear"
    if not isinstance(value, str) or value not in ACTIVATIONS:
        raise ValueError(f"{name} must be None or one of {', '.join(ACTIVATIONS)}, got {value!r}")
    return value
