"""Fitting a checkpoint's tensors into a model: all of them or none."""

from __future__ import annotations

import numpy as np

from kseg.weights.errors import WeightsError, listed
from kseg.weights.slots import Slot

# A checkpoint whose every second tensor is wrong is another network's: naming hundreds would hide it.
_MOST_LISTED = 8


def fit(slots: list[Slot], state: dict, *, file: str, model: str, hints) -> list[np.ndarray]:
    """The values of the slots' variables.

    Args:
        slots: where the tensors belong.
        state: arrays by name; texts for what is no array, as `read_state` returns them.
        file: for the error.
        model: for the error: what the slots belong to.
        hints: function of the sets of missing, surplus and mis-shaped names that yields sentences on how to mend it.

    Returns:
        float32 arrays in the variables' layout, in the order of the slots.

    Raises:
        WeightsError: lists missing, surplus and mis-shaped tensors and those with values that no network has.
    """
    by_name = {slot.name: slot for slot in slots}
    missing = [name for name in by_name if name not in state]
    surplus = sorted(name for name in state if name not in by_name)
    misshaped, unusable, values = {}, {}, []
    for slot in slots:
        value = state.get(slot.name)
        if value is None:
            continue
        if isinstance(value, str) or value.dtype.kind != "f":
            unusable[slot.name] = value if isinstance(value, str) else f"of type {value.dtype}"
            continue
        if value.shape != slot.shape:
            misshaped[slot.name] = f"{value.shape} instead of {slot.shape}"
            continue
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite, and is listed
            value = np.asarray(value, np.float32)
        if problem := _bad_values(slot, value):
            unusable[slot.name] = problem
        values.append(slot.arranged(value))
    if not (missing or surplus or misshaped or unusable):
        return values
    parts = [f"{file} does not fit {model}; nothing was loaded."]
    parts += _part("missing from the file", missing)
    parts += _part("surplus in the file", surplus)
    parts += _part("of another shape", [f"{name} {shapes}" for name, shapes in misshaped.items()])
    parts += _part("with unusable values", [f"{name} {problem}" for name, problem in unusable.items()])
    parts += hints(set(missing), set(surplus), {name: state[name].shape for name in misshaped})
    raise WeightsError("\n".join(parts))


def _part(title, items):
    return [f"{len(items)} {title}: {listed(items, _MOST_LISTED)}."] if items else []


def _bad_values(slot, value):
    """What is wrong with a tensor's values, or None."""
    # Under a float16 policy of variables, a value may be too large for its place.
    with np.errstate(over="ignore"):
        stored = value.astype(np.float16) if slot.variable.dtype == "float16" else value
    wrong = np.count_nonzero(~np.isfinite(stored))
    if wrong:
        return f"not finite ({wrong} of {value.size} values)"
    if slot.name.endswith("running_var") and value.size and value.min() < 0:
        return f"negative, and it is a variance ({np.count_nonzero(value < 0)} of {value.size} values)"
    return None
