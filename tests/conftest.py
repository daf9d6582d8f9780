"""Refuses to pass over a lost compiled core: where a compiler exists, every op has to be native."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest

from kseg_ops import _library, build
from tests.helpers import without_onednn


def _compiler_problem() -> str:
    try:
        build.find_compiler()
    except build.BuildError as error:
        return str(error)
    return ""


def pytest_configure(config: pytest.Config) -> None:
    without_onednn.install(config)
    if _compiler_problem():
        # Nothing can be compiled on this machine: then the references are what there is to test.
        config.addinivalue_line(
            "filterwarnings", "ignore:kseg. the compiled .* cannot be used.*it is not built:RuntimeWarning"
        )


def pytest_report_header() -> list[str]:
    states = _library.op_states(build.list_ops())
    core = _library.core()
    simd = f"{core.simd_target()} of {', '.join(core.supported_simd_targets())}" if core else "none"
    stale = _library.build_info().get("sources") != build.sources_hash()
    return [
        "kseg ops: " + ", ".join(f"{op} {state}" for op, state in states.items()),
        f"kseg SIMD target: {simd}",
        *(
            ["kseg: cpp/ has changed since the library was compiled, `make native` brings it up to date"]
            if stale
            else []
        ),
    ]


def pytest_sessionstart(session: pytest.Session) -> None:
    if not _library.native_allowed() or _compiler_problem():
        return
    lost = {op: state for op, state in _library.op_states(build.list_ops()).items() if state != "native"}
    if lost:
        listed = "; ".join(f"{op}: {state}" for op, state in lost.items())
        pytest.exit(
            f"these ops are not native although there is a compiler: {listed}. Run `make native` (or `kseg build-ops`) "
            "and read its messages, or test the references with KSEG_NATIVE=0.",
            returncode=1,
        )
    if problems := _library.build_info().get("problems"):
        # A failed compilation keeps the library that was there before: it must not pass for the present sources.
        pytest.exit(f"the last compilation failed, run `make native`: {' '.join(problems)}", returncode=1)
    if _library.core() is None:
        pytest.exit(f"the NumPy module is not native: {_library.core_problem()}", returncode=1)
