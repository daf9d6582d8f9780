"""State of Keras callbacks as plain data."""

from __future__ import annotations

from collections.abc import Iterable

import keras
import numpy as np

# What a callback is attached to, not what it remembers.
_NOT_STATE = {"model", "params"}
_MISSING = object()


def capture_callbacks(callbacks: Iterable[keras.callbacks.Callback]) -> tuple[list, dict[str, np.ndarray]]:
    """Collects what callbacks remember between batches and epochs.

    A callback that has `get_state()` and `set_state(state)` is asked for its state, which must be JSON-compatible and
    may hold NumPy arrays. From any other, the instance attributes that are plain data are taken: numbers, strings,
    `None`, arrays, functions of `keras.ops`, and lists, tuples and dicts of these. Other functions, files, writers and
    models are left out: a callback makes those anew in `on_train_begin`.

    Args:
        callbacks: Callbacks in a fixed order.

    Returns:
        A JSON-compatible list with one entry per callback, and the arrays that it refers to by name.
    """
    arrays: dict[str, np.ndarray] = {}
    states = []
    for callback in callbacks:
        if hasattr(callback, "get_state"):
            state = {"own": _encode(callback.get_state(), arrays)}
        else:
            state = {"attributes": _attributes(callback, arrays)}
        states.append({"class": type(callback).__name__, **state})
    return states, arrays


def restore_callbacks(
    callbacks: Iterable[keras.callbacks.Callback], states: list, arrays: dict[str, np.ndarray]
) -> None:
    """Gives callbacks back what `capture_callbacks` took.

    Args:
        callbacks: The callbacks, after `on_train_begin`; same classes, same order.
        states: First result of `capture_callbacks`.
        arrays: Second result of `capture_callbacks`.

    Raises:
        ValueError: Other callbacks, or another order.
    """
    callbacks = list(callbacks)
    found = [type(callback).__name__ for callback in callbacks]
    saved = [state["class"] for state in states]
    if found != saved:
        raise ValueError(
            f"callbacks: the checkpoint was written with {saved}, got {found}. "
            "Pass the same callbacks in the same order."
        )
    for callback, state in zip(callbacks, states, strict=True):
        if "own" in state:
            callback.set_state(_decode(state["own"], arrays))
            continue
        for name, encoded in state["attributes"].items():
            value = _decode(encoded, arrays)
            # An attribute that now holds a live object (a writer, say) was opened by on_train_begin and stays.
            if _encode(vars(callback).get(name), {}) is not _MISSING:
                setattr(callback, name, value)


def _attributes(callback, arrays):
    found = {}
    for name, value in sorted(vars(callback).items()):
        if name not in _NOT_STATE and (encoded := _encode(value, arrays)) is not _MISSING:
            found[name] = encoded
    return found


def _encode(value, arrays):
    """JSON form of plain data, with arrays set aside; `_MISSING` for anything else."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if callable(value) and getattr(keras.ops, getattr(value, "__name__", ""), None) is value:
        # EarlyStopping and its kin choose `keras.ops.less` at the first epoch's end and turn the sign of `min_delta` as
        # they do: with the one restored and not the other they would turn it again.
        return {"keras_op": value.__name__}
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind == "O":
            return _MISSING
        name = f"{len(arrays):06d}"
        arrays[name] = np.asarray(value)
        return {"array": name, "scalar": isinstance(value, np.generic)}
    if type(value) in (list, tuple):
        items = [_encode(item, arrays) for item in value]
        return _MISSING if _MISSING in items else {type(value).__name__: items}
    if type(value) is dict:
        items = [(_encode(key, arrays), _encode(item, arrays)) for key, item in value.items()]
        return _MISSING if any(_MISSING in pair for pair in items) else {"dict": [list(pair) for pair in items]}
    return _MISSING


def _decode(value, arrays):
    if not isinstance(value, dict):
        return value
    if "keras_op" in value:
        return getattr(keras.ops, value["keras_op"])
    if "array" in value:
        array = arrays[value["array"]]
        return array[()] if value["scalar"] else array
    if "list" in value:
        return [_decode(item, arrays) for item in value["list"]]
    if "tuple" in value:
        return tuple(_decode(item, arrays) for item in value["tuple"])
    return {_decode(key, arrays): _decode(item, arrays) for key, item in value["dict"]}
