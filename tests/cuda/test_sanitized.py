"""The CUDA kernels on the CPU under AddressSanitizer: reads beyond arrays, which guard bands do not see."""

from __future__ import annotations

import subprocess

import pytest

from benchmarks.cuda import sanitized
from benchmarks.cuda.build import missing_tools
from kseg_ops import _library


@pytest.mark.skipif(not _library.native_allowed(), reason="compiles for minutes; KSEG_NATIVE changes nothing here")
def test_cases_of_roi_align_under_sanitizers():
    """The pattern-setting op; `python -m benchmarks.cuda.sanitized` runs all of them."""
    if missing := missing_tools("host"):
        pytest.skip(f"building the CUDA kernels for the CPU needs {', '.join(missing)}")
    found = subprocess.run(["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout
    if "/" not in found:
        pytest.skip("g++ has no AddressSanitizer here")
    assert "roi_align: " in sanitized.run(["roi_align"])
