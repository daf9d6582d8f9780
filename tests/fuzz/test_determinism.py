"""Every compiled function gives the same bits for the same arguments: again, and with other numbers of threads.

The sizes are the fuzzer's, small ones; the tests of each op do the same with sizes that keep several threads busy.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from kseg_ops import _library
from tests.helpers.repository import ROOT

CALLS = 25


def digests(through: str, threads: int, folder) -> dict[str, list[str]]:
    file = folder / f"{through}-{threads}.json"
    run = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.digests", through, str(threads), "11", str(CALLS), str(file)],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(file.read_text())


@pytest.mark.parametrize("through", ["tensorflow", "numpy"])
def test_same_bits_for_any_number_of_threads(through, tmp_path):
    if not _library.native_allowed():
        pytest.skip("KSEG_NATIVE=0: there is no compiled library")
    one, many = digests(through, 1, tmp_path), digests(through, 3, tmp_path)
    assert one
    assert all(len(set(results)) > CALLS // 4 for results in one.values()), "too few calls gave a result of their own"
    different = {name for name in one if one[name] != many[name]}
    assert not different
