"""Runs of the kseg command in processes of their own, and whether two of them ended alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np

import kseg  # noqa: F401  (registers the classes)
from kseg.training import CheckpointStore
from kseg.training.history_file import read_history
from tests.helpers import interrupted_command


def run_kseg(when: str, *arguments: object) -> subprocess.CompletedProcess:
    """Runs `kseg` with `arguments`, interrupted as `tests.helpers.interrupted_command` says of `when`."""
    return subprocess.run(
        [sys.executable, interrupted_command.__file__, when, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "KSEG_DEBUG": "0"},
    )


def _variables_of(path: Path) -> list[np.ndarray]:
    model = keras.models.load_model(path)
    # A .keras file holds no dropout seeds; those are compared in the checkpoints.
    return [keras.ops.convert_to_numpy(v) for v in [*model.weights, *model.optimizer.variables]]


def _without_times(content: dict) -> dict:
    return {name: value for name, value in content.items() if name not in ("training_seconds", "seconds")}


def assert_same_runs(whole: Path, broken: Path) -> None:
    """Two run folders of two epochs hold the same models, state, history and figures, and nothing half-written."""
    for name in ("last.keras", "best.keras"):
        expected, got = _variables_of(whole / name), _variables_of(broken / name)
        assert len(expected) == len(got)
        for left, right in zip(expected, got, strict=True):
            np.testing.assert_array_equal(left, right)
    final = [CheckpointStore(folder / "checkpoints").load_newest().arrays for folder in (whole, broken)]
    assert final[0].keys() == final[1].keys()
    for name, array in final[0].items():
        np.testing.assert_array_equal(array, final[1][name], err_msg=name)
    rows, again = read_history(whole / "log.csv"), read_history(broken / "log.csv")
    assert [row["epoch"] for row in again] == [1, 2]
    assert [_without_times(row) for row in again] == [_without_times(row) for row in rows]
    metrics = [_without_times(json.loads((folder / "metrics.json").read_text())) for folder in (whole, broken)]
    assert metrics[0] == metrics[1]
    # Nothing half-written is left.
    assert [path.name for path in broken.rglob(".*")] == []
    assert len(list((broken / "checkpoints").iterdir())) == 2
