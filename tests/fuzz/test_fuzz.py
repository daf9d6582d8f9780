"""A short run of the fuzzer without sanitizers: no crash, no nameless error, shape functions that agree with ops."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from kseg_ops import _library
from tests.fuzz.cases import all_cases
from tests.helpers.repository import CPP, ROOT

CASES = all_cases()
CALLS = 200


@pytest.mark.parametrize("through", ["tensorflow", "numpy"])
def test_random_calls(through, tmp_path):
    if not _library.native_allowed():
        pytest.skip("KSEG_NATIVE=0: there is no compiled library to attack")
    names = [name for name, case in CASES.items() if (case.tensorflow if through == "tensorflow" else case.numpy)]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "KSEG_FUZZ_MEMORY_GB": "12"}
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.worker", ",".join(names), through, "7", "0", str(CALLS), "progress"],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    reached = (tmp_path / "progress").read_text() if (tmp_path / "progress").is_file() else "none"
    assert run.returncode == 0, f"at call {reached}: {run.stderr[-3000:]}"
    record = json.loads((tmp_path / "progress.json").read_text())
    assert sorted(record) == sorted(names)
    for name, result in record.items():
        outcomes = result["outcomes"]
        assert sum(outcomes.values()) == CALLS
        assert 2 * outcomes["ran"] >= CALLS, f"{name}: too few calls did any work: {outcomes}"
        assert outcomes.get("rejected", 0) > 0, f"{name}: nothing was refused, so no check was tried: {outcomes}"


def _snake(camel: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", camel).lower()


def test_every_raw_op_is_attacked():
    registered = {
        _snake(name)
        for path in CPP.glob("ops/*/*_tf.cc")
        for name in re.findall(r'REGISTER_OP\("Kseg>(\w+)"\)', path.read_text())
    }
    assert registered == {name for name, case in CASES.items() if case.tensorflow}


def test_every_numpy_function_is_attacked():
    bound = {
        name for path in CPP.glob("ops/*/*_py.cc") for name in re.findall(r'module\.def\(\s*"(\w+)"', path.read_text())
    }
    assert bound == {name for name, case in CASES.items() if case.numpy is not None}
