"""The runner for GPU machines, with the CPU in the GPU's place."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from benchmarks.cuda import references, run
from benchmarks.cuda.case import Case, difference
from benchmarks.cuda.device import convert
from benchmarks.cuda.race import Race


class Module:
    """Stands for a module of `benchmarks.cuda.ops`: a case for each of float32 and bfloat16."""

    @staticmethod
    def cases(seed):
        values = np.random.default_rng(seed).uniform(-1, 1, 19).astype(np.float32)
        return [scaling(convert(values, dtype), lambda: [3 * values]) for dtype in ("float32", "bfloat16")]


def scaling(values, expected) -> Case:
    name = f"selftest/{type(values).__name__}"
    return Case(name, "selftest_scale", [values], [values], expected, [2.0**-5], [3.0])


@pytest.fixture
def stored(tmp_path, monkeypatch):
    monkeypatch.setattr(references, "op_modules", lambda names: {"selftest": Module})
    assert references.store(5, tmp_path / "references.npz") == 2
    return references.StoredReferences(tmp_path / "references.npz")


def test_stored_references_serve_the_same_inputs_only(device, stored):
    assert stored.seed == 5
    for case in Module.cases(5):
        record = run.check(device, device, case, stored)
        assert record == {"case": case.name, "referenced": True, "same_bits": True, "faults": []}
    other = Module.cases(6)[0]
    assert stored.of(other) is None
    assert run.check(device, None, other, stored)["referenced"] is False


def test_wrong_results_and_failing_kernels_are_faults(device, stored):
    case = Module.cases(5)[0]
    wrong = dataclasses.replace(case, launcher="selftest_nothing_like_it")
    with pytest.raises(AttributeError, match="kseg_run_selftest_nothing_like_it"):
        run.check(device, None, wrong, stored)
    refused = dataclasses.replace(case, inputs=[case.inputs[0].astype(np.int32)])
    assert "dtype that this op does not take" in run.check(device, None, refused, None)["faults"][0]
    reference = [(expected + 1, tolerance) for expected, tolerance in stored.of(case)]
    assert "19 of 19 differ" in case.faults(case.run(device), reference)[0]


def test_difference_allows_the_rounding_of_the_dtype_and_no_more():
    exact = np.array([1.0, 1 + 2**-9, -3.0], np.float32)
    assert difference(convert(exact, "bfloat16"), exact, 0.0) == ""
    assert difference(convert(exact + 0.05, "bfloat16"), exact, 0.0).startswith("3 of 3 differ, the first at (0,): ")
    assert difference(exact + np.float32(1e-3), exact, 1e-4) != ""
    assert difference(np.array([np.nan, np.inf], np.float32), np.array([np.nan, np.inf]), 0.0) == ""
    assert difference(np.array([np.nan], np.float32), np.array([0.0]), 1.0) != ""
    assert difference(np.array([np.inf], np.float16), np.array([7e4]), 0.0) == ""  # overflows alike
    assert difference(np.array([6e4], np.float16), np.array([7e4]), 0.0) != ""
    assert difference(np.array([3]), np.array([4]), 9.0).startswith("1 of 1 differ")  # whole numbers are exact
    assert difference(np.zeros(3), np.zeros(4), 0.0) == "shape (3,) in place of (4,)"


def test_race_tells_bars_that_were_missed():
    race = Race("RoIAlign", 2.0, {"torchvision": 5.0, "other": 1.0}, {"torchvision": 3.0, "absent": 9.0})
    assert race.ratio("torchvision") == 2.5
    assert race.faults == ["RoIAlign: 2.50 times torchvision, not 3"]
