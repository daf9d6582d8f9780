"""What a run is made with, alike for both libraries."""

from __future__ import annotations

import dataclasses

import numpy as np

# The part of the budget during which the learning rate rises from nothing.
WARM_UP = 0.05
POWER = 0.9
# Adam's, as the paper has it; the two libraries have other defaults of their own.
EPSILON = 1e-8


@dataclasses.dataclass(frozen=True)
class Settings:
    """Attributes of a run.

    Attributes:
        model: its name in the table of `benchmarks.camvid`.
        seed: of the weights and of the batches.
        budget: seconds of training, of CPU time over all threads.
        batch: images per step.
        crop: height and width.
        rate: the highest learning rate of Adam.
        threads: that the library may use.
    """

    model: str
    seed: int
    budget: float
    batch: int
    crop: tuple[int, int]
    rate: float
    threads: int

    def learning_rate(self, elapsed: float) -> float:
        """The rate after so much CPU time: up a line, then down a polynomial to 0 at the end of the budget."""
        part = min(elapsed / self.budget, 1.0)
        if part < WARM_UP:
            return self.rate * max(part / WARM_UP, 0.01)
        return self.rate * ((1 - part) / (1 - WARM_UP)) ** POWER


@dataclasses.dataclass
class Trained:
    """What training gave.

    Attributes:
        steps: how many fitted into the budget.
        seconds: of CPU time that they took, with everything from building the network on.
        losses: of each step.
        parameters: of the network.
        classes: uint8 `(N, H, W)`, predicted for the validation images.
    """

    steps: int
    seconds: float
    losses: list[float]
    parameters: int
    classes: np.ndarray
