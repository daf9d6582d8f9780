"""`kseg benchmark`."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

from .errors import CliError

HELP = "time the compiled ops against what one would otherwise call"
DESCRIPTION = "Run the benchmarks of a source checkout; further arguments go to `python -m benchmarks.run`."


def add_arguments(parser) -> None:
    """Adds the arguments."""
    parser.add_argument("arguments", metavar="ARGUMENTS", nargs=argparse.REMAINDER, help="passed on")


def run(arguments) -> int:
    """Runs the benchmarks in a process of their own."""
    root = checkout()
    return subprocess.run([sys.executable, "-m", "benchmarks.run", *arguments.arguments], cwd=root).returncode


def checkout() -> Path:
    """The source checkout that the installed package belongs to.

    Raises:
        CliError: kseg is not installed from a checkout.
    """
    # find_spec does not execute the package.
    origin = importlib.util.find_spec("kseg_ops").origin
    root = Path(origin).resolve().parents[1]
    if not (root / "benchmarks" / "run.py").is_file():
        raise CliError(
            f"the benchmarks come with the source code, and kseg is installed in {root} without it. "
            "Clone the repository and run `make bench` there."
        )
    return root
