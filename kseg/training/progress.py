"""Progress of training, as a bar on a terminal and as plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn


class TrainingProgress:
    """Shows epoch, batch, loss, mean IoU and the time left.

    On a terminal a bar is redrawn per batch and one line is kept per epoch. Elsewhere (a file, a pipe) one plain line
    is written per epoch, and one every `line_seconds` within long epochs.

    Args:
        console: rich console; default standard output.
        monitor: Name of the metric that is shown beside the loss.
        line_seconds: Least time between two plain lines within an epoch, in seconds.
    """

    def __init__(self, console: Console | None = None, monitor: str = "mean_iou", line_seconds: float = 30.0):
        self.console = Console() if console is None else console
        self._monitor = monitor
        self._line_seconds = line_seconds
        self._progress: Progress | None = None
        self._task = None

    def start(self, epochs: int, steps: int, done: int = 0) -> None:
        """Begins; `done` of the `epochs * steps` batches are behind us already."""
        self._epochs, self._steps = epochs, steps
        self._done = self._first = done
        self._started = self._epoch_started = self._last_line = time.monotonic()
        self._phase = ""
        if self.console.is_terminal:
            self._progress = Progress(
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(bar_width=28),
                TextColumn("{task.fields[batch]}  {task.fields[figures]}  {task.fields[eta]}"),
                console=self.console,
                transient=True,
            )
            self._task = self._progress.add_task("", total=steps, epoch="", batch="", figures="", eta="")
            self._progress.start()

    def stop(self) -> None:
        """Ends; removes the bar."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def message(self, text: str) -> None:
        """Shows a sentence without disturbing the bar."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def epoch_start(self) -> None:
        """An epoch begins."""
        self._epoch_started = time.monotonic()

    def batch_end(self, epoch: int, batch: int, logs: Mapping[str, float]) -> None:
        """`batch` batches of epoch `epoch` (from 0) are done."""
        self._done = epoch * self._steps + batch
        self._show(epoch, f"batch {batch}/{self._steps}", batch, _figures(logs, self._monitor))

    def validation_batch(self, epoch: int, batch: int) -> None:
        """`batch` validation batches of epoch `epoch` are done."""
        self._show(epoch, f"validating, batch {batch}", self._steps, "")

    def epoch_end(self, epoch: int, logs: Mapping[str, float], best: bool) -> None:
        """Epoch `epoch` (from 0) is validated; `best` if it is the best so far."""
        parts = [f"epoch {epoch + 1}/{self._epochs}", _figures(logs, self._monitor)]
        if any(name.startswith("val_") for name in logs):
            validation = {name[4:]: value for name, value in logs.items() if name.startswith("val_")}
            parts.append("validation " + _figures(validation, self._monitor))
        parts.append(f"{time.monotonic() - self._epoch_started:.1f} s")
        if epoch + 1 < self._epochs:
            parts.append(self._eta())
        if best:
            parts.append("best so far")
        self.message("  ".join(part for part in parts if part))
        self._last_line = time.monotonic()

    def _show(self, epoch, batch_text, batch, figures):
        if self._progress is not None:
            self._progress.update(
                self._task,
                completed=batch,
                epoch=f"{epoch + 1}/{self._epochs}",
                batch=batch_text,
                figures=figures,
                eta=self._eta(),
            )
        elif time.monotonic() - self._last_line >= self._line_seconds:
            self._last_line = time.monotonic()
            parts = (f"epoch {epoch + 1}/{self._epochs}", batch_text, figures, self._eta())
            self.message("  ".join(part for part in parts if part))

    def _eta(self):
        behind = self._done - self._first
        left = self._epochs * self._steps - self._done
        if behind <= 0:
            return ""
        return f"{duration((time.monotonic() - self._started) / behind * left)} left"


def duration(seconds: float) -> str:
    """Formats a time span for reading: "48 s", "2 min 3 s", "1 h 5 min"."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def _figures(logs: Mapping[str, float], monitor: str) -> str:
    parts = []
    if "loss" in logs:
        parts.append(f"loss {logs['loss']:.4f}")
    if monitor in logs:
        parts.append(f"{'mIoU' if monitor == 'mean_iou' else monitor} {logs[monitor]:.4f}")
    return "  ".join(parts)
