"""What the final figures of a run are about."""

from __future__ import annotations

import numpy as np

from kseg.training.run_config import RunConfig
from kseg.training.tasks import task_of


def test_generated_cells_are_judged_on_a_third_set():
    config = RunConfig(cells_train=3, cells_val=3, cells_size=32, seed=5)
    task = task_of(config)
    train, validation = task.open_sources()
    judged = task.open_judged(validation)
    pictures = [source.load(index)[0] for source in (train, validation, judged) for index in range(3)]
    for i, first in enumerate(pictures):
        for second in pictures[i + 1 :]:
            assert not np.array_equal(first, second)
