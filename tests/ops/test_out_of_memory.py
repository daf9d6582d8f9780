"""A kernel that gets no memory for its scratch fails as a call, whichever thread it was on; the process lives on."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from kseg_ops import _library
from tests.helpers.repository import ROOT


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit on a process's memory is Linux's")
@pytest.mark.parametrize("through", ["tensorflow", "numpy"])
def test_out_of_memory_is_an_error_of_the_call(through):
    if not _library.native_allowed():
        pytest.skip("KSEG_NATIVE=0: there is no compiled library")
    run = subprocess.run(
        [sys.executable, "-m", "tests.helpers.memory_limit_main", through],
        cwd=ROOT,
        # What is freed goes back to the system at once, so that the next call has to ask for it again.
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    outcomes = json.loads(run.stdout)
    refused = {"tensorflow": "kernel", "numpy": "MemoryError"}[through]
    assert all(counts["ran"] > 0 for counts in outcomes.values())
    assert sum(refused in counts for counts in outcomes.values()) >= 2, outcomes
