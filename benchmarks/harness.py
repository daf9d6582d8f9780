"""Times two or more ways of doing the same work in one process, in turn: noise then disturbs all alike."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path


def shared_data(name: str) -> Path:
    """A data set beside the checkout, in `../shared/data`, or below `KSEG_DATA`.

    Raises:
        SystemExit: it is not there.
    """
    root = Path(__file__).resolve().parents[1]
    path = Path(os.environ.get("KSEG_DATA") or root.parent / "shared" / "data") / name
    if not path.is_dir():
        raise SystemExit(f"{path} does not exist; KSEG_DATA names the folder of the shared data sets")
    return path


@dataclass(frozen=True)
class Row:
    """One case: medians in milliseconds, and how often ours fits into each baseline."""

    name: str
    ours_ms: float
    baselines_ms: dict[str, float]
    bars: dict[str, float] = field(default_factory=dict)

    def ratio(self, baseline: str) -> float:
        """Baseline time over ours: above 1 means that ours is faster."""
        return self.baselines_ms[baseline] / self.ours_ms

    def as_dict(self) -> dict:
        """The row with its ratios, ready for JSON."""
        return {**asdict(self), "ratios": {name: round(self.ratio(name), 2) for name in self.baselines_ms}}


class Timer:
    """Measures contenders in turn and keeps medians.

    In each round every contender first runs untimed for `settle` seconds, and is then timed over as many calls as fit
    into `measure` seconds (at least one). What the contender before it left behind would otherwise be charged to it:
    caches full of another's data, threads of another library that go on spinning after their work, and a scheduler that
    for some 50 ms still takes the other core for busy (seen to run a two-thread call of 3 ms on one core).

    Args:
        repeats: Timed rounds per case.
        settle: Untimed seconds before each measurement; at least one call.
        measure: Seconds per measurement.
    """

    def __init__(self, repeats: int = 9, settle: float = 0.15, measure: float = 0.05):
        self.repeats = repeats
        self.settle = settle
        self.measure = measure

    def _mean_seconds(self, call: Callable[[], object], least: float) -> float:
        start = time.perf_counter()
        count = 0
        while True:
            call()
            count += 1
            elapsed = time.perf_counter() - start
            if elapsed >= least:
                return elapsed / count

    def compare(
        self,
        name: str,
        ours: Callable[[], object],
        baselines: dict[str, Callable[[], object]],
        *,
        bars: dict[str, float] | None = None,
        repeats: int | None = None,
    ) -> Row:
        """Times `ours` against each baseline.

        Args:
            name: What the case is, with its sizes.
            ours: A call that returns only when its work is done.
            baselines: Name to call, likewise.
            bars: For a baseline, the ratio that kseg promises at least.
            repeats: Overrides the timer's own number of rounds.
        """
        contenders = {"": ours, **baselines}
        seconds: dict[str, list[float]] = {key: [] for key in contenders}
        for _ in range(repeats or self.repeats):
            for key, call in contenders.items():
                self._mean_seconds(call, self.settle)
                seconds[key].append(self._mean_seconds(call, self.measure))
        medians = {key: 1e3 * statistics.median(values) for key, values in seconds.items()}
        return Row(name, medians.pop(""), medians, dict(bars or {}))


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": model, "cpus": cpus, "python": platform.python_version(), "system": platform.platform()}


def commit() -> str:
    """The commit of the checkout, with `+` when it has uncommitted changes; "unknown" outside one."""
    root = Path(__file__).resolve().parent.parent
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], cwd=root, capture_output=True, text=True, check=True
        ).stdout.strip()
        dirty = subprocess.run(
            ["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if dirty else "")


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table, one line per case and baseline."""
    lines = ["| case | kseg | baseline | | times faster | promised |", "|---|---|---|---|---|---|"]
    for row in rows:
        for name, milliseconds in row.baselines_ms.items():
            bar = row.bars.get(name)
            promise = "" if bar is None else f"{bar:g}x {'kept' if row.ratio(name) >= bar else 'MISSED'}"
            lines.append(
                f"| {row.name} | {row.ours_ms:.2f} ms | {name} | {milliseconds:.2f} ms "
                f"| {row.ratio(name):.1f}x | {promise} |"
            )
    return "\n".join(lines)


def save(rows: list[Row], path: Path, versions: dict[str, str]) -> None:
    """Writes rows, machine, commit and versions as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "commit": commit(),
        "machine": machine(),
        "versions": versions,
        "rows": [row.as_dict() for row in rows],
    }
    path.write_text(json.dumps(record, indent=1) + "\n")
