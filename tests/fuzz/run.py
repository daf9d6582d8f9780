"""The long fuzz run: builds the library with a sanitizer and attacks every function of it in processes of their own.

`python -m tests.fuzz.run [--calls 100000] [--sanitizer address|thread] [--through tensorflow numpy] [NAMES]`

AddressSanitizer comes with UndefinedBehaviorSanitizer. ThreadSanitizer looks at the NumPy module only, whose thread
pool is ours; TensorFlow is not compiled for it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import kseg_ops
from kseg_ops import build
from tests.fuzz.cases import all_cases

ROOT = Path(__file__).resolve().parent.parent.parent
PRELOAD = {"address": ("libasan.so", "libubsan.so", "libstdc++.so"), "thread": ("libtsan.so", "libstdc++.so")}
SANITIZERS = {"address": "address,undefined,float-cast-overflow", "thread": "thread"}
MEMORY = "allocator_may_return_null=1:max_allocation_size_mb=1000"
MARKS = {"address": b"__asan_report", "thread": b"__tsan_read"}


def build_sanitized(sanitizer: str) -> Path:
    """A folder with a copy of kseg_ops whose library is compiled with the sanitizer."""
    folder = ROOT / "build" / f"fuzz-{sanitizer}"
    package = folder / "kseg_ops"
    native = package / "_native"
    kept = folder / "native"
    if native.is_dir():
        shutil.rmtree(kept, ignore_errors=True)
        native.rename(kept)
    shutil.rmtree(package, ignore_errors=True)
    shutil.copytree(
        Path(kseg_ops.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", "_native", "_cpp")
    )
    if kept.is_dir():
        kept.rename(native)
    os.environ["KSEG_SANITIZE"] = SANITIZERS[sanitizer]
    report = build.build_native(native, folder / "cmake")
    if report.problems:
        raise SystemExit(f"the library with {sanitizer} sanitizer does not build: {' '.join(report.problems)}")
    for library in native.glob("*.so"):
        if MARKS[sanitizer] not in library.read_bytes():
            raise SystemExit(f"{library} is not instrumented")
    return folder


def environment(sanitizer: str, folder: Path) -> dict[str, str]:
    """Variables for a process that loads the sanitized library into an interpreter that is not."""
    libraries = []
    for name in PRELOAD[sanitizer]:
        found = subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
        libraries.append(str(Path(found.stdout.strip()).resolve()))
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("KSEG_")},
        "LD_PRELOAD": " ".join(libraries),
        # Python and TensorFlow keep what they allocate until the end: not leaks of ours.
        # An allocation above the limit fails, as on a machine without the memory for it. A record of the whole stack of
        # each would double the time.
        "ASAN_OPTIONS": f"detect_leaks=0:handle_abort=1:exitcode=66:malloc_context_size=2:{MEMORY}",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "TSAN_OPTIONS": f"halt_on_error=1:exitcode=66:{MEMORY}",
        "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KSEG_NUM_THREADS": "4",
    }


def attack(name: str, through: str, arguments: argparse.Namespace, variables: dict[str, str], work: Path) -> dict:
    """Runs one worker; the record holds its counts, or what ended it and at which call."""
    progress = work / f"{name}-{through}"
    calls = range(arguments.start, arguments.start + arguments.calls)
    run = subprocess.run(
        [sys.executable, "-P", "-m", "tests.fuzz.worker", name, through]
        + [str(arguments.seed), str(calls.start), str(calls.stop), str(progress)],
        env=variables,
        cwd=work,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    record = {"name": name, "through": through, "seed": arguments.seed, "calls": arguments.calls}
    written = Path(f"{progress}.json")
    if run.returncode == 0 and written.is_file():
        return {**record, **json.loads(written.read_text())[name]}
    at = progress.read_text().strip() if progress.is_file() else "none"
    return {**record, "fault": run.stderr[-6000:] or f"exit status {run.returncode}", "at_call": at}


def main() -> int:
    """Prints one line per function; 1 if any had a fault, or if too few of the calls did any work."""
    cases = all_cases()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAMES", help=f"default: all of {', '.join(cases)}")
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="number of the first call, to repeat a fault")
    parser.add_argument("--sanitizer", choices=list(PRELOAD), default="address")
    parser.add_argument("--through", nargs="+", choices=["tensorflow", "numpy"], default=["tensorflow", "numpy"])
    parser.add_argument("--output", type=Path, help="write the records there as JSON")
    arguments = parser.parse_args()
    names = arguments.names or list(cases)
    unknown = set(names) - set(cases)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    ways = ["numpy"] if arguments.sanitizer == "thread" else arguments.through
    variables = environment(arguments.sanitizer, build_sanitized(arguments.sanitizer))
    records = []
    with tempfile.TemporaryDirectory() as work:
        for name in names:
            for through in ways:
                has_form = cases[name].tensorflow if through == "tensorflow" else cases[name].numpy is not None
                if has_form:
                    records.append(attack(name, through, arguments, variables, Path(work)))
                    sys.stdout.write(describe(records[-1]) + "\n")
                    sys.stdout.flush()
    if arguments.output:
        arguments.output.write_text(json.dumps(records, indent=1) + "\n")
    return int(any("fault" in record or not worked_enough(record) for record in records))


def worked_enough(record: dict) -> bool:
    """At most half of the calls may be empty or rejected."""
    return 2 * record["outcomes"].get("ran", 0) >= record["calls"]


def describe(record: dict) -> str:
    """One line about a worker."""
    head = f"{record['name']} through {record['through']}:"
    if "fault" in record:
        return f"{head} FAULT at call {record['at_call']} of seed {record['seed']}\n{record['fault']}"
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(record["outcomes"].items()))
    few = "" if worked_enough(record) else "; TOO FEW RAN"
    return f"{head} {record['calls']} calls, no fault ({counts}) in {record['seconds']} s{few}"


if __name__ == "__main__":
    raise SystemExit(main())
