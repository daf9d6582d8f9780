"""All state of a compiled Keras model as named arrays."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from .checkpoint_store import CheckpointError


def capture_model(model: keras.Model) -> dict[str, np.ndarray]:
    """Copies every variable that training reads or writes.

    Args:
        model: A compiled model whose optimizer and metrics are built (see `prepare_model`).

    Returns:
        Arrays by name: the model's variables (weights, batch-norm statistics, dropout seeds), the optimizer's (moments,
        step, learning rate, loss scale) and the metrics' (sums, counts, the loss tracker).
    """
    return {name: np.array(keras.ops.convert_to_numpy(variable)) for name, variable in _variables(model).items()}


def restore_model(model: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    """Writes captured arrays back.

    Args:
        model: The same architecture, prepared likewise.
        arrays: Result of `capture_model`.

    Raises:
        CheckpointError: A variable is missing, or its shape or dtype differs.
    """
    variables = _variables(model)
    if variables.keys() != arrays.keys():
        missing = sorted(variables.keys() - arrays.keys())[:3]
        extra = sorted(arrays.keys() - variables.keys())[:3]
        raise CheckpointError(
            f"The checkpoint holds {len(arrays)} arrays and the model needs {len(variables)} "
            f"(missing: {missing}, too many: {extra}). Build the model with the settings of config.json."
        )
    for name, variable in variables.items():
        array = arrays[name]
        dtype = keras.backend.standardize_dtype(variable.dtype)
        if tuple(variable.shape) != array.shape or dtype != array.dtype.name:
            raise CheckpointError(
                f"The checkpoint's {name} is {array.dtype.name} {array.shape}, and the model's is "
                f"{dtype} {tuple(variable.shape)}. Build the model with the settings of config.json."
            )
        variable.assign(array)


def prepare_model(model: keras.Model, batch: tuple) -> None:
    """Creates the variables that Keras creates late, those of the optimizer and of the metrics.

    Args:
        model: A compiled model.
        batch: One batch `(images, labels)`; its first sample is run through the test step, eagerly. No weight changes;
            the metrics are left reset.
    """
    images, labels = batch
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    model.test_step((images[:1], tf.nest.map_structure(lambda part: part[:1], labels)))
    model.reset_metrics()


def capture_seeds(model: keras.Model) -> list[tuple]:
    """Pairs of each variable that random numbers come from and its value, for `restore_seeds`."""
    weights = {id(variable) for variable in model.weights}
    weights |= {id(variable) for metric in model.metrics for variable in metric.variables}
    return [
        (variable, np.array(keras.ops.convert_to_numpy(variable)))
        for variable in model.variables
        if id(variable) not in weights
    ]


def restore_seeds(seeds: list[tuple]) -> None:
    """Takes back what was drawn since `capture_seeds`."""
    for variable, value in seeds:
        variable.assign(value)


def _variables(model):
    named = {f"model/{index:05d}": variable for index, variable in enumerate(model.variables)}
    named |= {f"optimizer/{index:05d}": variable for index, variable in enumerate(model.optimizer.variables)}
    metrics = [variable for metric in model.metrics for variable in metric.variables]
    named |= {f"metrics/{index:05d}": variable for index, variable in enumerate(metrics)}
    return named
