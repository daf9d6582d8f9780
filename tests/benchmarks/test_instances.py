"""The parts of the benchmark of instances that train nothing."""

from __future__ import annotations

import pytest

from benchmarks import instances
from benchmarks.instances import CASES, Case


def test_the_learning_rate_rises_and_falls():
    case = Case(budget=100.0, bar=0.0, rate=0.01, batch=2, size=(32, 32), anchors=(8,))
    at = [instances._learning_rate(case, elapsed) for elapsed in (0.0, 1.5, 50.0, 100.0, 120.0)]
    assert at == pytest.approx([0.0001, 0.005, 0.005, 0.0, 0.0])


def test_photographs_that_are_judged_are_not_trained_on(monkeypatch):
    class Photographs:
        num_classes, channels, dtype, input_range, class_names = 3, 3, "uint8", (0, 255), ["a", "b", "c"]

        def __len__(self):
            return 14

    monkeypatch.setattr(instances.harness, "shared_data", lambda name: instances.Path(name))
    monkeypatch.setattr("kseg.data.CocoSource", lambda *folder: Photographs())
    train, judged = instances.sources("fruits-unseen")
    assert len(train) == 11
    assert len(judged) == 3
    assert not set(train.indices) & set(judged.indices)


def test_generated_cells_are_judged_on_others():
    train, judged = instances.sources("cells")
    assert (len(train), len(judged)) == (400, 40)
    assert train.cells.seed != judged.cells.seed


def test_names_of_cases(capsys):
    with pytest.raises(SystemExit):
        instances.main(["nuts"])
    assert f"expected some of {', '.join(CASES)}, got nuts" in capsys.readouterr().err
