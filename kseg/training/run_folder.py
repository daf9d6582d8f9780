"""The folder of a run."""

from __future__ import annotations

import shutil
from pathlib import Path


class RunFolderError(ValueError):
    """A folder cannot be used as a run folder."""


class RunFolder:
    """Names of the files of a run.

    Args:
        path: The folder.

    Attributes:
        config, metrics, log, tensorboard, checkpoints, best, last, curves, confusion, overlays, report: Paths.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.metrics = self.path / "metrics.json"
        self.log = self.path / "log.csv"
        self.tensorboard = self.path / "tensorboard"
        self.checkpoints = self.path / "checkpoints"
        self.best = self.path / "best.keras"
        self.last = self.path / "last.keras"
        self.curves = self.path / "curves.png"
        self.confusion = self.path / "confusion_matrix.png"
        self.overlays = self.path / "overlays"
        self.report = self.path / "report.html"

    def create(self, overwrite: bool = False) -> None:
        """Makes the folder for a new run.

        Args:
            overwrite: Remove the files of an earlier run. Only a run folder (one with a config.json) is cleared, and
                only of the files that a run writes.

        Raises:
            RunFolderError: The path is a file, or a folder that is not empty and may not be cleared.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RunFolderError(
                f"--out: {self.path} is a file; expected a folder that does not exist yet or is empty."
            )
        if self.path.is_dir() and any(self.path.iterdir()):
            if not self.config.is_file():
                raise RunFolderError(f"--out: {self.path} holds other files and is no run folder; give another folder.")
            if not overwrite:
                raise RunFolderError(
                    f"--out: {self.path} holds a run already; continue it with --resume {self.path}, replace it with "
                    "--overwrite, or give another folder."
                )
            self._clear()
        self.path.mkdir(parents=True, exist_ok=True)

    def _clear(self) -> None:
        for path in (self.tensorboard, self.checkpoints, self.overlays):
            shutil.rmtree(path, ignore_errors=True)
        for path in (self.metrics, self.log, self.best, self.last, self.curves, self.confusion, self.report):
            path.unlink(missing_ok=True)
        for pattern in ("confusion_matrix_*.png", "precision_recall_*.png"):
            for path in self.path.glob(pattern):
                path.unlink()
        # Last, so that a folder that was cleared halfway is still known as a run folder.
        self.config.unlink()
