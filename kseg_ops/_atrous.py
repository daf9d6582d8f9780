"""What the atrous convolutions check alike. Works without TensorFlow."""

from __future__ import annotations

from kseg_ops._checks import as_int, as_pair

MAX_RATE = 1 << 16
MAX_KERNEL = 64
ACTIVATIONS = ("linear", "relu", "relu6", "hard_sigmoid", "hard_silu")


def as_rate(value, name: str = "rate") -> tuple[int, int]:
    """A dilation rate: an int or (rows, columns)."""
    rows, columns = (as_int(name, rate, 1, MAX_RATE) for rate in as_pair(name, value, "an int", "rows, columns"))
    return rows, columns


def as_activation(name: str, value) -> str:
    """The name of an activation; None is "linear"."""
    activation = "linear" if value is None else value
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise ValueError(
            f"{name} must be None or one of {', '.join(ACTIVATIONS)}, got {value!r}; apply any other to the result"
        )
    return activation


def check_kernel(name: str, shape) -> None:
    """ValueError if known rows or columns of filters are too few or too many."""
    for size in shape[:2]:
        if size is not None and not 1 <= size <= MAX_KERNEL:
            raise ValueError(f"{name} must have 1..{MAX_KERNEL} rows and columns, got shape {tuple(shape)}")


def check_valid_padding(sizes, kernel, rate, padding: str) -> None:
    """ValueError if a map of known size is too small for padding "valid"."""
    for axis, size, taps, step in zip(("rows", "columns"), sizes, kernel, rate, strict=True):
        if padding == "valid" and size is not None and taps is not None and size < (taps - 1) * step:
            raise ValueError(
                f"x must have at least {(taps - 1) * step} {axis} for padding 'valid' with {taps} taps {step} apart, "
                f"got {size}"
            )


def output_size(size: int | None, taps: int | None, rate: int, padding: str) -> int | None:
    """Of one axis; None where it is not known."""
    if padding == "same":
        return size
    return None if size is None or taps is None else size - (taps - 1) * rate
