"""Copies of kseg_ops, to be damaged, moved and loaded twice in processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import kseg_ops

PACKAGE = Path(kseg_ops.__file__).parent

# Calls an op twice and tells what happened as JSON in the last line of its output.
REPORT = """
import json, sys, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", RuntimeWarning)
    import kseg_ops
    from kseg_ops import _library
    for _ in range(2):
        counts = kseg_ops.confusion_matrix([0, 1, 1, 255], [0, 1, 0, 1], 2).numpy().tolist()
    native = _library.native_op("confusion_matrix") is not None
texts = [str(w.message) for w in caught if issubclass(w.category, RuntimeWarning) and str(w.message).startswith("kseg")]
print(json.dumps({"counts": counts, "native": native, "warnings": texts, "file": kseg_ops.__file__}))
"""
RIGHT_COUNTS = [[1, 0], [1, 1]]


def copy_package(folder: Path) -> Path:
    """Puts a copy of kseg_ops into `folder` and returns the copy's `_native` folder."""
    shutil.copytree(PACKAGE, folder / "kseg_ops", ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "kseg_ops" / "_native"


def run_python(code: str, path: Path | str | None = None, **environment: str) -> subprocess.CompletedProcess:
    """Runs `code` in a fresh interpreter that finds packages in `path` first; its working directory holds none."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("KSEG_")}
    variables |= {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
        "PYTHONPATH": str(path or ""),
    } | environment
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        env=variables,
        cwd=path or "/",
        timeout=300,
    )


def report_of(path: Path | str | None = None, code: str = REPORT, **environment: str) -> dict:
    """The JSON that `code` printed last; fails with the process's output if it did not get that far."""
    run = run_python(code, path, **environment)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.strip().splitlines()[-1])
