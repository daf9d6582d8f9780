"""A whole run: data, model, training, figures, report."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from .evaluation import Evaluation
from .instance_evaluation import InstanceEvaluation
from .progress import TrainingProgress
from .run_config import ConfigError, RunConfig
from .run_folder import RunFolder
from .tasks import task_of
from .trainer import Trainer


def train_run(
    config: RunConfig,
    run_dir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    checkpoint_seconds: float | None = 60.0,
    checkpoint_batches: int | None = None,
    progress: TrainingProgress | None = None,
    extras: Callable | None = None,
) -> Evaluation | InstanceEvaluation:
    """Trains a model as `config` says and fills a run folder.

    Args:
        config: Settings.
        run_dir: The run folder (see `RunFolder`).
        resume: Continue the run in `run_dir`; `config` must be the one that it holds.
        overwrite: Replace an earlier run in `run_dir`.
        checkpoint_seconds: See `Trainer`. No influence on the result.
        checkpoint_batches: Likewise.
        progress: Shows progress.
        extras: Called with the source of the final figures before the report is written; returns a mapping that may
            hold `comparison`, `notes` (see `kseg.viz.write_report`) and `metrics` (entries of metrics.json).

    Returns:
        The figures of the best model on the images of `Task.open_judged`: an `Evaluation` or an
        `InstanceEvaluation`.

    Raises:
        ConfigError: The settings do not fit the data, or the data differ from those that the run began with.
        TrainingInterrupted: Training stopped on request; resume it.
        kseg.data.DataError: The data folder has a problem.
    """
    folder = RunFolder(run_dir)
    task = task_of(config)
    progress = TrainingProgress(monitor=task.monitor) if progress is None else progress
    train, validation = task.open_sources()
    facts = _facts(train, validation) | task.facts(train, validation)
    if resume:
        _check_same_data(RunConfig.load(folder.config)[1], facts)
    else:
        task.check_data(progress.message)
        folder.create(overwrite)
    steps = task.steps_per_epoch(train)
    keras.utils.set_random_seed(config.seed)
    if config.deterministic and not config.jit:
        # Keras refuses jit_compile beside it.
        tf.config.experimental.enable_op_determinism()
    policy = keras.config.dtype_policy()
    try:
        if config.mixed_precision != "none":
            keras.config.set_dtype_policy(f"mixed_{config.mixed_precision}")
        model = task.build_model(train, steps)
    finally:
        keras.config.set_dtype_policy(policy)
    facts["parameters"] = int(model.count_params())
    if not resume:
        config.save(folder.config, facts)
    progress.message(
        f"{len(train)} training and {len(validation)} validation images, {facts['classes']} classes, "
        f"{facts['parameters']:,} parameters"
    )
    trainer = Trainer(
        model,
        lambda epoch, start: task.train_batches(train, epoch, start),
        steps,
        epochs=config.epochs,
        run_dir=folder.path,
        validation_batches=lambda: task.validation_batches(validation),
        monitor=task.monitor,
        callbacks=task.callbacks(model, folder.tensorboard, validation),
        checkpoint_seconds=checkpoint_seconds,
        checkpoint_batches=checkpoint_batches,
        progress=progress,
    )
    history = trainer.fit(resume=resume)
    judged = task.open_judged(validation)
    progress.message(f"Evaluating the best model (epoch {trainer.best_epoch}) on {len(judged)} images ...")
    best = keras.models.load_model(folder.best, compile=False)
    more = extras(judged) if extras is not None else {}
    return task.write_report(folder, facts, best, judged, history, trainer.best_epoch, more)


def _facts(train, validation) -> dict:
    import kseg

    names = "\n".join([*train.names, "", *validation.names])
    return {
        "train_images": len(train),
        "val_images": len(validation),
        "names_sha256": hashlib.sha256(names.encode()).hexdigest(),
        "classes": train.num_classes,
        "channels": train.channels,
        "input_range": [float(value) for value in train.input_range],
        "class_names": train.class_names,
        "versions": {
            "kseg": kseg.__version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "started": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _check_same_data(before: dict, now: dict) -> None:
    for key, words in (
        ("train_images", "the number of training images"),
        ("val_images", "the number of validation images"),
        ("classes", "the number of classes"),
        ("channels", "the number of channels"),
        ("input_range", "the input range"),
        ("names_sha256", "the set of file names"),
    ):
        if before.get(key) != now[key]:
            raise ConfigError(
                f"data: {words} changed since this run began ({before.get(key)} then, {now[key]} now). "
                "Restore the data, or start a new run."
            )
