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
from collections.abc import Callable, Collection
from pathlib import Path

from benchmarks import harness, ops


def measure(name: str, repeats: int) -> list[harness.Row]:
    """Runs the benchmark of one op in this process."""
    return importlib.import_module(f"benchmarks.ops.{name}").run(harness.Timer(repeats=repeats))


def main(argv: list[str] | None = None) -> int:
    """Runs the chosen benchmarks; returns 1 if a promised ratio was missed, so that a script can notice."""
    known = sorted(module.name for module in pkgutil.iter_modules(ops.__path__))
    return command("benchmarks.run", __doc__, "ops", known, measure, argv, repeats=9)


def command(
    module: str,
    description: str | None,
    what: str,
    known: Collection[str],
    measure: Callable[[str, int], list[harness.Row]],
    argv: list[str] | None,
    repeats: int = 5,
) -> int:
    """The command line of a benchmark: runs what is named, each in a process of its own, and reports.

    Args:
        module: name of the benchmark's module.
        description: of the benchmark.
        what: the names' kind, in the plural.
        known: names that there are, in the order in which all of them run.
        measure: function of a name and a number of timed rounds, of a module that a new process can import.
        argv: arguments; None for the process's own.
        repeats: timed rounds where the arguments do not tell.

    Returns:
        1 if a promised ratio was missed, else 0.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which {what} (default: all): {', '.join(known)}")
    parser.add_argument("--repeats", type=int, default=repeats, help=f"timed rounds per case (default: {repeats})")
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
