"""What a run does that depends on what it learns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from .run_config import RunConfig

_CACHE_BYTES = 2**30


class Task:
    """The parts of a run that differ by what is learned; `kseg.training.run` puts them together.

    Args:
        config: Settings of the run.

    Attributes:
        monitor: Validation figure that decides which epoch is best, the larger the better.
    """

    monitor: str

    def __init__(self, config: RunConfig):
        self.config = config

    def open_sources(self) -> tuple:
        """The training and the validation source."""
        if self.config.data is None:
            return self._cells(self.config.cells_train, 0), self._cells(self.config.cells_val, 1)
        return self.open_folder()

    def open_judged(self, validation):
        """The images that the final figures are about.

        Returns:
            For generated cells a third set, which had no part in training nor in the choice of the best epoch; for a
            data folder, which has no third part, the validation source.
        """
        return self._cells(self.config.cells_val, 2) if self.config.data is None else validation

    def _cells(self, count, part):
        from kseg.data import CellsSource

        # A seed for each part: no image of one is an image of another.
        return self.of_cells(CellsSource(count, size=self.config.cells_size, seed=3 * self.config.seed + part))

    def compile(self, model: keras.Model, steps: int, **options) -> keras.Model:
        """Compiles a model with the optimizer of the settings; `steps` are those of an epoch."""
        rate = self.config.lr
        if self.config.schedule == "cosine":
            rate = keras.optimizers.schedules.CosineDecay(rate, self.config.epochs * steps, alpha=0.01)
        model.compile(optimizer=self.optimizer(rate), jit_compile=self.config.jit, **options)
        return model

    def optimizer(self, rate) -> keras.optimizers.Optimizer:
        """The optimizer at a learning rate or a course of it."""
        return keras.optimizers.Adam(rate)

    # What each task has

    def open_folder(self) -> tuple:
        """The training and the validation source of the data folder."""
        raise NotImplementedError

    def of_cells(self, cells):
        """The source of a `kseg.data.CellsSource`."""
        raise NotImplementedError

    def check_data(self, tell: Callable[[str], None]) -> None:
        """Reads the run's folder before training starts, and tells warnings.

        Raises:
            kseg.data.DataError: Files have problems; the text lists them all.
        """
        raise NotImplementedError

    def facts(self, train, validation) -> dict:
        """What else config.json should hold about the data.

        Raises:
            ConfigError: The settings do not fit the data.
        """
        raise NotImplementedError

    def steps_per_epoch(self, train) -> int:
        """Number of training batches per epoch; the last one may be smaller."""
        raise NotImplementedError

    def build_model(self, train, steps: int) -> keras.Model:
        """A compiled model; `steps` are those of an epoch."""
        raise NotImplementedError

    def train_batches(self, train, epoch: int, start: int):
        """The batches of one epoch from `start` on; a pure function of the settings and these two numbers."""
        raise NotImplementedError

    def validation_batches(self, validation):
        """The batches of a validation."""
        raise NotImplementedError

    def callbacks(self, model: keras.Model, log_dir: Path, validation) -> list[keras.callbacks.Callback]:
        """What else goes on in training."""
        raise NotImplementedError

    def write_report(self, folder, facts: dict, model, source, history: list[dict], best_epoch, more: dict):
        """Evaluates the best model on `source`, fills the run folder, and returns the figures."""
        raise NotImplementedError


def fits_in_memory(source) -> bool:
    """Whether the decoded images of a source, with four bytes for the labels of a pixel, may be kept."""
    sizes = source.sizes
    if sizes is None:
        return False
    bytes_each = 4 * source.channels + 4
    return sum(height * width for height, width in sizes) * bytes_each <= _CACHE_BYTES


def spread(count: int, wanted: int) -> list[int]:
    """At most `wanted` of `count` positions, evenly."""
    return sorted({int(index) for index in np.linspace(0, count - 1, min(wanted, count))})
