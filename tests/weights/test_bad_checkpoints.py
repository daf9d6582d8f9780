"""What every kind of bad checkpoint is answered with, and that the model is then as before."""

from __future__ import annotations

import importlib.util
import re

import numpy as np
import pytest

pytest.importorskip("safetensors", reason="the bad files are .safetensors files")

import kseg
from tests.helpers.bad_checkpoints import BAD, published_state, small_fcn

ANSWERS: list[tuple[str, str]] = []


@pytest.fixture(scope="module")
def model():
    return small_fcn()


@pytest.fixture(scope="module")
def state(model):
    return published_state(model)


@pytest.mark.parametrize("bad", BAD, ids=[bad.title for bad in BAD])
def test_bad_checkpoint(bad, model, state, tmp_path, monkeypatch):
    if bad.needs_torch and importlib.util.find_spec("torch") is None:
        pytest.skip("torch writes and reads this file")
    monkeypatch.chdir(tmp_path)
    model = small_fcn(**bad.model) if bad.model else model
    before = [weight.numpy() for weight in model.weights]
    path = bad.make(tmp_path, state)
    with pytest.raises((ValueError, TypeError)) as caught:
        kseg.weights.load(model, path, skip=bad.skip)
    text = str(caught.value)
    ANSWERS.append((bad.title, text.replace(f"{tmp_path}/", "").replace(str(tmp_path), "folder")))
    assert type(caught.value).__name__ == bad.error
    assert re.search(".*?".join(map(re.escape, bad.answers)), text, re.DOTALL), text
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)
    assert not (tmp_path / "was_run").exists()
    if path.exists() and bad.error == "WeightsError" and not bad.skip and path.is_file():
        assert path.name in text or "model.get_layer" in text
