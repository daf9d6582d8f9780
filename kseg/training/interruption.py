"""Ctrl-C as a request that training honours between two batches."""

from __future__ import annotations

import signal
import threading


class TrainingInterrupted(Exception):  # noqa: N818  (like KeyboardInterrupt: not an error)
    """Training stopped on request, after a checkpoint was saved.

    Attributes:
        checkpoint: Path of that checkpoint.
    """

    def __init__(self, checkpoint):
        super().__init__(f"Training was interrupted; saved {checkpoint}.")
        self.checkpoint = checkpoint


class Interruption:
    """Context that turns the first SIGINT or SIGTERM into a flag; a second SIGINT raises `KeyboardInterrupt`.

    Python delivers signals to the main thread only: elsewhere the context does nothing and `requested` stays false.

    Args:
        notify: Called without arguments when the first signal comes.
    """

    def __init__(self, notify=None):
        self.requested = False
        self._notify = notify
        self._previous = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _handle(self, number, _frame):
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
        if self._notify is not None:
            self._notify()
