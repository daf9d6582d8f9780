"""The training loop that both libraries go through."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from benchmarks.camvid_parts import data
from benchmarks.camvid_parts.settings import Settings, Trained


def run(settings: Settings, build: Callable) -> Trained:
    """Trains for as long as the budget lasts, then predicts the validation images.

    The budget is CPU time of the process, over all of its threads: what else the machine does in the meantime costs
    nobody a step. Reading the files, importing the library and the prediction at the end are not charged; building the
    network, tracing or compiling it, cropping and every step are.

    Args:
        settings: of the run.
        build: function of the settings that gives `(step, predict, parameters)`: `step(images, labels, rate)` trains
            on a batch and returns its loss as a float, `predict(images)` gives the classes of a batch of images.
    """
    images, masks = data.load("train")
    validation = data.padded(data.load("val")[0])
    batches = data.batches(images, masks, size=settings.batch, crop=settings.crop, seed=settings.seed)
    losses = []
    started = time.process_time()
    step, predict, parameters = build(settings)
    while (elapsed := time.process_time() - started) < settings.budget:
        losses.append(step(*next(batches), settings.learning_rate(elapsed)))
        if not np.isfinite(losses[-1]):
            raise FloatingPointError(f"{settings}: the loss became {losses[-1]} at step {len(losses)}")
    seconds = time.process_time() - started
    classes = [predict(validation[start : start + 1]) for start in range(len(validation))]
    predicted = np.concatenate(classes).astype(np.uint8)[:, : images.shape[1], : images.shape[2]]
    return Trained(len(losses), seconds, losses, parameters, predicted)
