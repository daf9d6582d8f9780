"""The state of models."""

from __future__ import annotations

import keras
import numpy as np

from kseg.training.model_state import capture_seeds, restore_seeds


def test_random_numbers_are_taken_back_and_nothing_else():
    model = keras.Sequential([keras.Input((50,)), keras.layers.Dense(50), keras.layers.Dropout(0.5, seed=3)])
    model.compile("sgd", "mse")
    ones = np.ones((1, 50), np.float32)
    seeds = capture_seeds(model)
    assert len(seeds) == 1
    first = np.asarray(model(ones, training=True))
    second = np.asarray(model(ones, training=True))
    assert (first != second).any()
    model.layers[0].bias.assign(np.ones(50))
    restore_seeds(seeds)
    again = np.asarray(model(ones, training=True))
    np.testing.assert_array_equal(again == 0, first == 0)
    np.testing.assert_array_equal(model.layers[0].bias, 1)
