"""Runs the cases of the CUDA kernels on the CPU under AddressSanitizer and UndefinedBehaviorSanitizer.

`python -m benchmarks.cuda.sanitized [OPS]`; each array and each piece of scratch memory is a block of its own, so that
a read beyond it ends the process with a report.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.cuda.build import ROOT, HarnessError, build
from benchmarks.cuda.device import Device
from benchmarks.cuda.references import op_modules

_LIBRARIES = ("libasan.so", "libubsan.so", "libstdc++.so")
_CHILD = "KSEG_CUDA_SANITIZED_LIBRARY"


def run(names: list[str], seed: int = 1) -> str:
    """Builds the named ops and runs their cases in a process of its own; returns what that said.

    Raises:
        HarnessError: with the report of the sanitizer, or of a failed kernel.
    """
    output = ROOT / "build" / "cuda_harness_sanitized"
    folder = build("host", output=output, SANITIZE="address,undefined", OPS=" ".join(names or ["*"]))
    libraries = []
    for name in _LIBRARIES:
        found = subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
        libraries.append(str(Path(found.stdout.strip()).resolve()))
    variables = {
        **os.environ,
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0:exitcode=66:detect_stack_use_after_return=0",
        "UBSAN_OPTIONS": "halt_on_error=1:exitcode=66:print_stacktrace=1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        _CHILD: str(folder / "libkseg_cuda_host.so"),
    }
    command = [sys.executable, "-m", "benchmarks.cuda.sanitized", str(seed), *names]
    done = subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HarnessError((done.stderr + done.stdout)[-6000:])
    return done.stdout


def _run_cases(library: str, seed: int, names: list[str]) -> None:
    device = Device(library)
    for name, module in op_modules(names).items():
        cases = module.cases(seed)
        for number, case in enumerate(cases):
            device.vary(order=("forward", "backward", "shuffled")[number % 3], seed=number)
            case.run(device)
        sys.stdout.write(f"{name}: {len(cases)} cases\n")


def main() -> int:
    if library := os.environ.get(_CHILD):
        _run_cases(library, int(sys.argv[1]), sys.argv[2:])
        return 0
    try:
        sys.stdout.write(run(sys.argv[1:]))
    except HarnessError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
