"""Calls a function of the compiled library with random arguments and counts what came of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.fuzz.draws import Case, Draw, spoil

SPOILT = 0.3
# One call in so many is also built into a graph with unknown sizes, which runs the op's shape function.
SHAPE_CHECK_EVERY = 40


class FindingError(Exception):
    """A fault that is not a crash; says how to draw the same call again."""


def make_draw(case: Case, seed: int, index: int, numpy: bool) -> Draw:
    """The arguments of call `index`, which depend on nothing but these numbers."""
    rng = np.random.default_rng([seed, index])
    draw = case.draw(rng)
    if rng.random() < SPOILT:
        spoil(rng, draw, numpy)
        if not numpy and rng.random() < 0.998:
            _avoid_exhaustion(case, draw)
    return draw


def _avoid_exhaustion(case: Case, draw: Draw) -> None:
    """TensorFlow tries for ten seconds to get memory that there is not; so few calls may ask for it."""
    for name in case.sizes:
        for array in draw.each_array(name):
            array[(array > 2**20) & (array < 2**48)] = -1


def attack_numpy(core: Any, case: Case, seed: int, indices: range, progress: Callable[[int], None]) -> Counter:
    """Calls `core.<name>`; returns counts of "ran", "empty", "rejected" and "memory"."""
    function = getattr(core, case.name)
    outcomes: Counter = Counter()
    for index in indices:
        progress(index)
        draw = make_draw(case, seed, index, True)
        try:
            arguments = case.numpy(draw)
        except (TypeError, ValueError, OverflowError, IndexError):
            outcomes["unspeakable"] += 1  # spoilt so that it does not even fit the function's form
            continue
        try:
            function(**arguments)
            outcomes["empty" if draw.zero_size() else "ran"] += 1
        except MemoryError:
            outcomes["memory"] += 1
        except (TypeError, ValueError) as error:
            check_message(case, draw, error, seed, index, [*arguments])
            outcomes["rejected"] += 1
    return outcomes


def attack_tensorflow(op: Callable, case: Case, seed: int, indices: range, progress: Callable[[int], None]) -> Counter:
    """Calls the raw op eagerly, and now and then builds it into a graph; counts like `attack_numpy`."""
    import tensorflow as tf

    outcomes: Counter = Counter()
    for index in indices:
        progress(index)
        draw = make_draw(case, seed, index, False)
        inputs = {
            name: [tf.constant(entry) for entry in value] if isinstance(value, list) else tf.constant(value)
            for name, value in draw.arrays.items()
        }
        outputs = None
        try:
            outputs = op(**inputs, **draw.attributes)
            outcomes["empty" if draw.zero_size() else "ran"] += 1
        except tf.errors.ResourceExhaustedError:
            outcomes["memory"] += 1
        except (tf.errors.InvalidArgumentError, TypeError, ValueError) as error:
            check_message(case, draw, error, seed, index)
            outcomes["rejected"] += 1
        if index % SHAPE_CHECK_EVERY == 0:
            _check_shape_function(op, case, draw, inputs, outputs, seed, index)
    return outcomes


def check_message(
    case: Case, draw: Draw, error: Exception, seed: int, index: int, more: list[str] | None = None
) -> None:
    """Raises FindingError unless the message names an argument."""
    text = str(error)
    names = {*draw.arrays, *draw.attributes, *case.words, *(more or ())}
    # pybind11 lists the whole signature, TensorFlow the attribute of a type that is not supported.
    general = ("incompatible function arguments", "Value for attr", "cannot compute Kseg>")
    if not any(re.search(rf"\b{re.escape(name)}", text) for name in names) and not any(
        part in text for part in general
    ):
        raise FindingError(
            f"{case.name}, seed {seed}, call {index}: the message names no argument: "
            f"{type(error).__name__}: {text[:300]}"
        )


def _check_shape_function(op, case: Case, draw: Draw, inputs: dict, outputs: Any, seed: int, index: int) -> None:
    """The inferred shapes of partly unknown inputs must fit the real outputs, and must not refuse what the op takes."""
    import tensorflow as tf

    rng = np.random.default_rng([seed, index, 1])

    def placeholder(tensor: tf.Tensor) -> tf.Tensor:
        if rng.random() < 0.2:
            return tf.compat.v1.placeholder(tensor.dtype, None)
        return tf.compat.v1.placeholder(
            tensor.dtype, [None if rng.random() < 0.4 else extent for extent in tensor.shape]
        )

    with tf.Graph().as_default():
        try:
            symbolic = op(
                **{
                    name: [placeholder(entry) for entry in value] if isinstance(value, list) else placeholder(value)
                    for name, value in inputs.items()
                },
                **draw.attributes,
            )
        except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
            if outputs is not None:
                raise FindingError(
                    f"{case.name}, seed {seed}, call {index}: the shape function refuses what the op takes: {error}"
                ) from error
            return
    if outputs is None:
        return
    for inferred, real in zip(tf.nest.flatten(symbolic), tf.nest.flatten(outputs), strict=True):
        if not inferred.shape.is_compatible_with(real.shape):
            raise FindingError(
                f"{case.name}, seed {seed}, call {index}: the shape function says {inferred.shape}, it is {real.shape}"
            )
