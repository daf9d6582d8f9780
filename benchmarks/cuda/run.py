"""Builds the CUDA kernels on a machine with a GPU, checks every one and times it: one command, under ten minutes.

`python -m benchmarks.cuda.run [--references build/cuda_references.npz] [--output build/cuda.json] [OPS]`

Needs NumPy, nvcc, g++ and make; torch and torchvision for the races. Each kernel is checked against
- the references of `kseg_ops`, stored by `benchmarks.cuda.references` on a machine that has TensorFlow;
- the same kernel on the CPU, which the test suite holds against those references: to the bit, where no `expf` or tensor
  core is in the way (a difference is told, not counted as a fault);
- itself, with other bytes in undefined memory: to the bit;
- torch and torchvision, in the races;
with guard bands around every array and scratch buffer. compute-sanitizer runs over all cases where it can.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.cuda.build import ROOT, HarnessError, missing_tools
from benchmarks.cuda.case import Case
from benchmarks.cuda.device import Device
from benchmarks.cuda.race import copy_bytes_per_second
from benchmarks.cuda.references import DEFAULT, StoredReferences, op_modules

_SANITIZERS = ("memcheck", "racecheck")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run_case(gpu: Device, case: Case) -> list[np.ndarray]:
    """The results of a case, the same for two contents of undefined memory."""
    gpu.vary(poison=0xFF)
    first = case.run(gpu)
    gpu.vary(poison=0x11)
    second = case.run(gpu)
    if any(one.tobytes() != other.tobytes() for one, other in zip(first, second, strict=True)):
        raise HarnessError("the result depends on what undefined memory holds, or differs from run to run")
    return first


def check(gpu: Device, cpu: Device | None, case: Case, stored: StoredReferences | None) -> dict:
    """The record of a case: its faults, whether it was held against a reference, and whether the CPU gives the bits."""
    record = {"case": case.name, "referenced": False, "same_bits": None, "faults": []}
    try:
        results = run_case(gpu, case)
        reference = stored.of(case) if stored else None
        if reference is not None:
            record["referenced"] = True
            record["faults"] = case.faults(results, reference)
        if cpu is not None:
            pairs = zip(results, case.run(cpu), strict=True)
            record["same_bits"] = all(ours.tobytes() == theirs.tobytes() for ours, theirs in pairs)
    except HarnessError as error:
        record["faults"] = [f"{case.name}: {error}"]
    return record


def sanitize(names: list[str], seed: int, seconds: float) -> dict[str, str]:
    """For each tool of compute-sanitizer "clean", what it found, or why it did not run."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        return dict.fromkeys(_SANITIZERS, "not run: compute-sanitizer is not installed")
    outcome = {}
    for tool in _SANITIZERS:
        command = [program, "--tool", tool, "--error-exitcode", "99", "--target-processes", "all"]
        command += [sys.executable, "-m", "benchmarks.cuda.run", "--cases-only", "--seed", str(seed), *names]
        try:
            run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            outcome[tool] = f"not finished in {seconds:.0f} s"
            continue
        summary = [line for line in run.stdout.splitlines() if "ERROR SUMMARY" in line or "RACECHECK SUMMARY" in line]
        if run.returncode == 0 and summary:
            outcome[tool] = "clean"
        elif summary:
            outcome[tool] = f"faults: {run.stdout[-3000:]}"
        else:
            outcome[tool] = f"not run: {(run.stdout + run.stderr)[-500:]}"
    return outcome


def races(gpu: Device, modules: dict) -> list[dict]:
    """Every race of the ops, each with its ratios and its share of the card's copy bandwidth."""
    try:
        import torch

        if not torch.cuda.is_available():
            raise ImportError("torch sees no GPU")
    except ImportError as error:
        say(f"no races: {error}")
        return []
    bandwidth = copy_bytes_per_second()
    say(f"copy bandwidth {bandwidth / 1e12:.2f} TB/s")
    rows = []
    for name, module in modules.items():
        if not hasattr(module, "races"):
            continue
        try:
            for race in module.races(gpu):
                share = race.least_bytes / (race.ours_ms / 1e3) / bandwidth if race.least_bytes else None
                ratios = {baseline: race.ratio(baseline) for baseline in race.baselines_ms}
                rows.append({**asdict(race), "ratios": ratios, "bandwidth_share": share, "faults": race.faults})
                told = ", ".join(f"{ratio:.2f} x {baseline}" for baseline, ratio in ratios.items())
                say(
                    f"  {race.name}: {race.ours_ms:.4f} ms; {told or 'no baseline'}"
                    + (f"; {share:.0%} of copy bandwidth" if share else "")
                    + (f"; off by {race.off:.1e}" if race.off is not None else "")
                )
        except (HarnessError, RuntimeError) as error:
            rows.append({"name": name, "faults": [f"{name}: {error}"]})
            say(f"  {name}: {error}")
        torch.cuda.empty_cache()
    return rows


def main() -> int:
    """Prints a table, writes the JSON, and returns 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ops", nargs="*", help="default: all")
    parser.add_argument("--references", type=Path, default=DEFAULT)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "cuda.json")
    parser.add_argument("--archs", default="90", help="compute capabilities to compile for, such as '80 90'")
    parser.add_argument("--seed", type=int, help="of the inputs; by default that of the references, else a fresh one")
    parser.add_argument("--sanitizer-seconds", type=float, default=120, help="limit for each tool; 0 leaves them out")
    parser.add_argument("--cases-only", action="store_true", help="only run the cases, for compute-sanitizer")
    arguments = parser.parse_args()
    if missing := missing_tools("gpu"):
        parser.error(f"not found: {', '.join(missing)}")
    started = time.monotonic()
    modules = op_modules(arguments.ops)
    stored = StoredReferences(arguments.references) if arguments.references.is_file() else None
    seed = arguments.seed if arguments.seed is not None else stored.seed if stored else int(time.time())

    jobs = max((os.cpu_count() or 2) // 2, 1)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(Device.open, "gpu", jobs=jobs, ARCHS=arguments.archs)
        cpu = None if arguments.cases_only else Device.open("host", jobs=jobs)
        gpu = waiting.result()
    if arguments.cases_only:
        for module in modules.values():
            for case in module.cases(seed):
                case.run(gpu)
        return 0

    say(f"{gpu.name}; built in {time.monotonic() - started:.0f} s; seed {seed}")
    say(f"references: {arguments.references if stored else 'none, run benchmarks.cuda.references where TensorFlow is'}")
    report = {"device": gpu.name, "seed": seed, "cases": [], "races": [], "sanitizer": {}}
    for name, module in modules.items():
        records = [check(gpu, cpu, case, stored) for case in module.cases(seed)]
        report["cases"] += records
        wrong = [fault for record in records for fault in record["faults"]]
        referenced, same = (sum(bool(record[key]) for record in records) for key in ("referenced", "same_bits"))
        say(
            f"  {name}: {len(records)} cases, {len(wrong)} wrong, {referenced} held against references, {same} to the "
            "bit as on the CPU"
        )
        for fault in wrong[:5]:
            say(f"    {fault}")
    report["races"] = races(gpu, modules)
    if arguments.sanitizer_seconds > 0:
        report["sanitizer"] = sanitize(list(modules), seed, arguments.sanitizer_seconds)
        for tool, outcome in report["sanitizer"].items():
            say(f"  {tool}: {outcome}")
    faults = [fault for record in [*report["cases"], *report["races"]] for fault in record["faults"]]
    faults += [f"{tool}: {text}" for tool, text in report["sanitizer"].items() if text.startswith("faults")]
    report |= {"faults": faults, "seconds": time.monotonic() - started}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    say(f"{len(faults)} faults; {report['seconds']:.0f} s; {arguments.output}")
    for fault in faults:
        say(f"  {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
