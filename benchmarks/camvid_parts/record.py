"""The JSON file of runs, and the table made of it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import statistics
from pathlib import Path

import numpy as np

from benchmarks import harness
from benchmarks.camvid_parts import data
from benchmarks.camvid_parts.settings import Settings, Trained

PACKAGES = (
    "kseg",
    "tensorflow",
    "tensorflow-cpu",
    "keras",
    "numpy",
    "torch",
    "torchvision",
    "segmentation-models-pytorch",
)


class Record:
    """The runs of a file, written anew after each.

    Args:
        path: of the JSON file, which need not exist yet.
    """

    def __init__(self, path: Path):
        self.path = path
        self.runs = self._stored()

    def _stored(self) -> list[dict]:
        return json.loads(self.path.read_text())["runs"] if self.path.exists() else []

    def has(self, settings: Settings) -> bool:
        """Whether the file holds a run with these settings."""
        return any(run["settings"] == _plain(settings) for run in self.runs)

    def like(self, settings: Settings) -> list[dict]:
        """The runs that differ from these settings in nothing but the seed."""
        wanted = _plain(settings) | {"seed": None}
        return [run for run in self.runs if run["settings"] | {"seed": None} == wanted]

    def add(self, settings: Settings, trained: Trained, matrix: np.ndarray) -> dict:
        """Appends a run to what the file holds now, and writes it beside and renamed, so that it is always whole."""
        ious = data.ious(matrix)
        tail = trained.losses[-max(1, len(trained.losses) // 20) :]
        run = {
            "settings": _plain(settings),
            "mean_iou": float(np.nanmean(ious)),
            "ious": {name: _number(value) for name, value in zip(data.CLASS_NAMES, ious, strict=True)},
            "pixel_accuracy": float(np.diag(matrix).sum() / matrix.sum()),
            "steps": trained.steps,
            "seconds": round(trained.seconds, 1),
            "images_per_second": round(trained.steps * settings.batch / trained.seconds, 2),
            "parameters": trained.parameters,
            "last_loss": statistics.fmean(tail) if tail else None,
            "commit": harness.commit(),
            "machine": harness.machine(),
            "versions": _versions(),
        }
        # Another process may have added runs of its own in the meantime.
        self.runs = [*self._stored(), run]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(f".{self.path.name}.tmp")
        beside.write_text(json.dumps({"runs": self.runs}, indent=1) + "\n")
        os.replace(beside, self.path)
        return run


def _plain(settings: Settings) -> dict:
    """Settings as JSON gives them back."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def standard_error(values: list[float]) -> float | None:
    """Of the mean of some values; None for fewer than two."""
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None


def table(groups: dict[str, list[dict]]) -> str:
    """Markdown, a line per model: means over its runs, and the standard error of the mean IoU."""
    lines = [
        "| model | parameters | seeds | mean IoU | standard error | pixel accuracy | steps | images per CPU second |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, runs in groups.items():
        if not runs:
            continue
        error = standard_error([run["mean_iou"] for run in runs])
        cells = (
            name,
            f"{runs[0]['parameters']:,}",
            " ".join(str(run["settings"]["seed"]) for run in runs),
            f"{_mean(runs, 'mean_iou'):.4f}",
            "" if error is None else f"{error:.4f}",
            f"{_mean(runs, 'pixel_accuracy'):.4f}",
            f"{_mean(runs, 'steps'):.0f}",
            f"{_mean(runs, 'images_per_second'):.1f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def verdict(ours: list[dict], yardstick: list[dict]) -> tuple[bool, str] | None:
    """Whether our mean is at least the yardstick's minus one standard error of it; None before both have two runs."""
    error = standard_error([run["mean_iou"] for run in yardstick])
    if error is None or len(ours) < 2:
        return None
    mean, bar = _mean(ours, "mean_iou"), _mean(yardstick, "mean_iou") - error
    kept = mean >= bar
    return kept, f"kseg's mean {mean:.4f}, at least {bar:.4f} promised (the yardstick's minus one standard error): " + (
        "kept" if kept else "MISSED"
    )


def _mean(runs: list[dict], key: str) -> float:
    return statistics.fmean(run[key] for run in runs)
