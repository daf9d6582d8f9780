"""Compiles every kernel for every architecture and reports registers, shared memory and spills.

`python -m benchmarks.cuda.resources [--archs "80 86 89 90"] [OPS]` returns 1 if a kernel spills that is not KSEG_COLD.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cuda.build import ROOT, build

ARCHS = "80 86 89 90"


@dataclass(frozen=True)
class Kernel:
    """What ptxas says of one kernel on one architecture."""

    source: str
    name: str
    arch: str
    registers: int
    shared_bytes: int
    stack_bytes: int
    spill_bytes: int

    @property
    def short_name(self) -> str:
        """Without namespaces, template arguments and parameters."""
        return re.match(r"(?:void )?(?:[\w() ]+::)*(\w+)", self.name)[1]


def read_report(source: str, text: str) -> list[Kernel]:
    """The kernels in the output of `ptxas -v`."""
    pattern = re.compile(
        r"Compiling entry function '(?P<name>\w+)' for '(?P<arch>\w+)'\n"
        r".*\n\s+(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
        r"(?P<loads>\d+) bytes spill loads\n"
        r".*Used (?P<registers>\d+) registers(?P<rest>.*)"
    )
    kernels = []
    for match in pattern.finditer(text):
        shared = re.search(r"(\d+) bytes smem", match["rest"])
        kernels.append(
            Kernel(
                source,
                demangle(match["name"]),
                match["arch"],
                int(match["registers"]),
                int(shared[1]) if shared else 0,
                int(match["stack"]),
                int(match["stores"]) + int(match["loads"]),
            )
        )
    return kernels


def demangle(name: str) -> str:
    if shutil.which("c++filt") is None:
        return name
    return subprocess.run(["c++filt", name], capture_output=True, text=True, check=True).stdout.strip()


def cold_kernels(source: Path) -> set[str]:
    """The names that a source marks KSEG_COLD."""
    text = source.read_text(encoding="utf-8")
    return set(re.findall(r"KSEG_COLD\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(", text))


def collect(names: list[str] | None = None, archs: str = ARCHS, **settings) -> list[Kernel]:
    """Compiles what is out of date and reads the reports of all kernels of the named ops."""
    folder = build("matrix", ARCHS=archs, OPS=" ".join(names or ["*"]), **settings) / "matrix"
    kernels = []
    for report in sorted(folder.rglob("*.cu.txt")):
        source = report.relative_to(folder).as_posix().removesuffix(".txt")
        if (ROOT / "cpp" / source).is_file() and (not names or source.split("/")[1] in names):
            kernels += read_report(source, report.read_text(encoding="utf-8"))
    return kernels


def faults(kernels: list[Kernel]) -> list[str]:
    """One sentence per kernel that spills and must not."""
    return [
        f"{kernel.short_name} of {kernel.source} spills {kernel.spill_bytes} bytes on {kernel.arch}"
        for kernel in kernels
        if kernel.spill_bytes and kernel.short_name not in cold_kernels(ROOT / "cpp" / kernel.source)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ops", nargs="*", help="default: all")
    parser.add_argument("--archs", default=ARCHS)
    arguments = parser.parse_args()
    kernels = collect(arguments.ops, arguments.archs)
    for kernel in sorted(kernels, key=lambda kernel: (kernel.source, kernel.name, kernel.arch)):
        name = re.sub(r"_GLOBAL__N__\w+::|kseg::|\(anonymous namespace\)::", "", kernel.name).split("(")[0]
        sys.stdout.write(
            f"{kernel.arch:6} {kernel.registers:4} registers {kernel.shared_bytes:6} shared "
            f"{kernel.stack_bytes:5} stack {kernel.spill_bytes:5} spilled  {name}\n"
        )
    wrong = faults(kernels)
    sys.stdout.write("".join(f"{fault}\n" for fault in wrong) or f"{len(kernels)} kernels, none spills\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
