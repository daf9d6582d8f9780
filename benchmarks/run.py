"""`python -m benchmarks.run [NAME ...]`: the op benchmarks, as a table and as JSON.

Each op is measured in a process of its own, so that a library which serves as the baseline of one (torch, say) does not
slow down the calls of another.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import multiprocessing
import pkgutil
import sys
from pathlib import Path

from benchmarks import harness, ops


def measure(name: str, repeats: int) -> list[harness.Row]:
    """Runs the benchmark of one op in this process."""
    return importlib.import_module(f"benchmarks.ops.{name}").run(harness.Timer(repeats=repeats))


def main(argv: list[str] | None = None) -> int:
    """Runs the chosen benchmarks; returns 1 if a promised ratio was missed, so that a script can notice."""
    known = sorted(module.name for module in pkgutil.iter_modules(ops.__path__))
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ops (default: all): {', '.join(known)}")
    parser.add_argument("--repeats", type=int, default=9, help="timed rounds per case (default: 9)")
    parser.add_argument("--output", type=Path, default=None, help="also write the figures to this JSON file")
    args = parser.parse_args(argv)
    unknown = sorted(set(args.names) - set(known))
    if unknown:
        parser.error(f"NAME must be one of {', '.join(known)}; got {', '.join(unknown)}")

    rows: list[harness.Row] = []
    for name in args.names or known:
        with multiprocessing.get_context("spawn").Pool(1) as process:
            rows += process.apply(measure, (name, args.repeats))
    return report(rows, args.output)


def report(rows: list[harness.Row], output: Path | None) -> int:
    """Writes the table, and the JSON file if there is to be one; returns 1 if a promised ratio was missed."""
    versions = {}
    for package in (
        "kseg",
        "tensorflow",
        "tensorflow-cpu",
        "keras",
        "numpy",
        "torch",
        "torchvision",
        "segmentation-models-pytorch",
    ):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    machine = harness.machine()
    sys.stdout.write(f"{machine['cpu']}, {machine['cpus']} CPUs; commit {harness.commit()}\n")
    sys.stdout.write(", ".join(f"{name} {version}" for name, version in versions.items()) + "\n\n")
    sys.stdout.write(harness.table(rows) + "\n")
    if output is not None:
        harness.save(rows, output, versions)
    missed = [row.name for row in rows if any(row.ratio(name) < bar for name, bar in row.bars.items())]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
