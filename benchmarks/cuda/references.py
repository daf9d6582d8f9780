"""Stores what the references give, for a machine without TensorFlow.

`python -m benchmarks.cuda.references [--seed 7] [--output build/cuda_references.npz]`

The inputs are not stored: the same seed makes them again, and a digest tells whether it did.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import pkgutil
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np

from benchmarks.cuda import ops
from benchmarks.cuda.build import ROOT
from benchmarks.cuda.case import Case
from benchmarks.cuda.device import BFloat16

DEFAULT = ROOT / "build" / "cuda_references.npz"


def op_modules(names: list[str] | None = None) -> dict[str, ModuleType]:
    """The modules of `benchmarks.cuda.ops`, all or those named."""
    found = sorted(module.name for module in pkgutil.iter_modules(ops.__path__))
    return {name: importlib.import_module(f"benchmarks.cuda.ops.{name}") for name in names or found}


def digest(case: Case) -> str:
    """Of the inputs and attributes of a case."""
    hashed = hashlib.sha256(repr([float(number) for number in case.numbers]).encode())
    for array in case.inputs:
        hashed.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()[:16]


def store(seed: int, output: Path, names: list[str] | None = None) -> int:
    """Writes the references of all cases and returns how many there are."""
    arrays: dict[str, np.ndarray] = {"seed": np.array(seed)}
    count = 0
    for module in op_modules(names).values():
        for case in module.cases(seed):
            arrays[f"{case.name}/digest"] = np.array(digest(case))
            for number, (expected, tolerance) in enumerate(case.reference()):
                kind = "bfloat16" if isinstance(expected, BFloat16) else "array"
                arrays[f"{case.name}/{number}/{kind}"] = np.asarray(expected)
                arrays[f"{case.name}/{number}/tolerance"] = np.asarray(tolerance)
            count += 1
    output.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(output, **arrays)
    return count


class StoredReferences:
    """What `store` wrote."""

    def __init__(self, path: Path):
        self._arrays = dict(np.load(path))
        self.seed = int(self._arrays["seed"])

    def of(self, case: Case) -> list[tuple[np.ndarray, np.ndarray]] | None:
        """As `Case.reference`; None if the case is not among them, or other inputs have come of the seed."""
        key = f"{case.name}/digest"
        if key not in self._arrays or str(self._arrays[key]) != digest(case):
            return None
        found = []
        for number in range(len(case.outputs)):
            if (key := f"{case.name}/{number}/bfloat16") in self._arrays:
                expected = self._arrays[key].view(BFloat16)
            else:
                expected = self._arrays[f"{case.name}/{number}/array"]
            found.append((expected, self._arrays[f"{case.name}/{number}/tolerance"]))
        return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ops", nargs="*", help="default: all")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="default: a fresh one")
    parser.add_argument("--output", type=Path, default=DEFAULT)
    arguments = parser.parse_args()
    count = store(arguments.seed, arguments.output, arguments.ops)
    size = arguments.output.stat().st_size
    sys.stdout.write(f"{count} cases of seed {arguments.seed}, {size / 1e6:.1f} MB in {arguments.output}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
