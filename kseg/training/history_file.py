"""The CSV log of a run."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path


def write_history(history: Sequence[Mapping[str, float]], path: str | Path) -> Path:
    """Writes one row per epoch; the whole file anew, beside and renamed.

    Appending would leave a second row for an epoch that a killed run had finished and a resumed run finishes again.

    Args:
        history: One mapping per epoch. The columns are the keys in order of first appearance; floats are written with
            all their digits.
        path: CSV file.

    Returns:
        `path`.
    """
    path = Path(path)
    columns = list(dict.fromkeys(name for row in history for name in row))
    beside = path.with_name(f".{path.name}.tmp")
    with open(beside, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    return path


def read_history(path: str | Path) -> list[dict[str, float]]:
    """Reads what `write_history` wrote; `epoch` as int, the rest as float."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        {name: int(text) if name == "epoch" else float(text) for name, text in row.items() if text != ""}
        for row in rows
    ]
