"""Builds the harness over the CUDA kernels with make: by nvcc for a GPU, by g++ for the CPU."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "cpp" / "cuda_harness"


class HarnessError(RuntimeError):
    """The harness could not be built, or a kernel failed."""


def missing_tools(target: str) -> list[str]:
    """The programs that building `target` ("gpu", "host" or "matrix") lacks here."""
    needed = ["make", os.environ.get("CXX", "g++").split()[-1], *(["nvcc"] if target != "host" else [])]
    return [program for program in needed if shutil.which(program) is None]


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One build at a time in a folder: two test runs may want it at once."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build(target: str, *, output: Path | None = None, jobs: int | None = None, **variables: str) -> Path:
    """Brings `target` up to date and returns the folder of what was built.

    Args:
        target: "gpu" for `libkseg_cuda.so`, "host" for `libkseg_cuda_host.so`, "matrix" for reports on every kernel.
        output: where to build; by default `build/cuda_harness` of the checkout.
        jobs: how many compilers at once.
        **variables: of the Makefile, such as `ARCHS="80 90"`.

    Raises:
        HarnessError: a tool is missing, or the sources do not compile.
    """
    if missing := missing_tools(target):
        raise HarnessError(f"the CUDA harness ({target}) needs {', '.join(missing)}")
    output = output or ROOT / "build" / "cuda_harness"
    jobs = jobs or int(os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", "0")) or os.cpu_count() or 1
    launcher = os.environ.get("CMAKE_CXX_COMPILER_LAUNCHER")
    settings = {"OUT": str(output), **({"CXX": f"{launcher} g++"} if launcher else {}), **variables}
    with _alone(output):
        run = subprocess.run(
            ["make", "-C", str(FOLDER), f"-j{jobs}", target, *(f"{key}={value}" for key, value in settings.items())],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    if run.returncode:
        raise HarnessError(f"the CUDA harness ({target}) does not build:\n{run.stdout[-6000:]}")
    return output
