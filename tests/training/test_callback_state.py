from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from kseg.training.callback_state import capture_callbacks, restore_callbacks


class Remembers(keras.callbacks.Callback):
    def __init__(self, **attributes):
        super().__init__()
        vars(self).update(attributes)


class OwnState(keras.callbacks.Callback):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def get_state(self):
        return {"value": self.value}

    def set_state(self, state):
        self.value = state["value"] + 100


def travel(callback, onto):
    states, arrays = capture_callbacks([callback])
    restore_callbacks([onto], json.loads(json.dumps(states)), arrays)
    return onto


def test_plain_attributes_travel():
    before = {
        "count": 3,
        "best": np.float32(0.1),
        "worst": float("-inf"),
        "name": None,
        "weights": [np.arange(3.0), np.ones((2, 2), np.int8)],
        "nested": {"a": (1, [2.5, "x"]), 7: True},
    }
    got = vars(travel(Remembers(**before), Remembers()))
    assert got["count"] == 3
    assert got["best"] == np.float32(0.1)
    assert isinstance(got["best"], np.float32)
    assert got["worst"] == float("-inf")
    assert got["name"] is None
    np.testing.assert_array_equal(got["weights"][0], np.arange(3.0))
    assert got["weights"][1].dtype == np.int8
    assert got["nested"] == {"a": (1, [2.5, "x"]), 7: True}


def test_live_objects_stay_those_of_the_new_process():
    live = object()
    got = travel(Remembers(writer=[object()], opened={}), Remembers(writer="new", opened={"train": live}))
    assert got.writer == "new"
    assert got.opened == {"train": live}


def test_model_and_params_are_not_state():
    callback = Remembers()
    callback.set_params({"epochs": 3})
    onto = Remembers()
    onto.set_params({"epochs": 9})
    assert travel(callback, onto).params == {"epochs": 9}


def test_a_callback_may_bring_its_own_state():
    assert travel(OwnState(5), OwnState(0)).value == 105


def test_early_stopping_travels():
    before, after = (keras.callbacks.EarlyStopping(patience=3) for _ in range(2))
    before.wait, before.best, before.best_weights = 2, 0.25, [np.ones(2)]
    got = travel(before, after)
    assert (got.wait, got.best) == (2, 0.25)
    np.testing.assert_array_equal(got.best_weights[0], np.ones(2))


def test_other_callbacks_are_an_error():
    states, arrays = capture_callbacks([Remembers(), OwnState(1)])
    with pytest.raises(ValueError, match=r"written with \['Remembers', 'OwnState'\], got \['OwnState'\]"):
        restore_callbacks([OwnState(1)], states, arrays)
