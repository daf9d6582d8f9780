"""Argument checks that every op shares."""

from __future__ import annotations

import operator
import sys


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
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r} of type {type(value).__name__}") from None
    if (least is not None and number < least) or (most is not None and number > most):
        bounds = f"in {least}..{most}" if most is not None else f"at least {least}"
        raise ValueError(f"{name} must be {bounds}, got {number}")
    return number
