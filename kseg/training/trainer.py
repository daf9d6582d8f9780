"""The training loop: like `model.fit`, and resumable at any batch."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from .callback_state import capture_callbacks, restore_callbacks
from .checkpoint_store import Checkpoint, CheckpointError, CheckpointStore, sync_folder
from .history_file import write_history
from .interruption import Interruption, TrainingInterrupted
from .model_file import damage
from .model_state import capture_model, capture_seeds, prepare_model, restore_model, restore_seeds
from .progress import TrainingProgress


class TrainingError(RuntimeError):
    """Training cannot go on: the loss is no number, or the data does not deliver what it promised."""


class Trainer:
    """Trains a compiled Keras model so that a killed run, resumed, ends bit for bit like an uninterrupted one.

    Keras's own `fit` cannot be entered in the middle of an epoch. This loop calls the model's `train_step` and
    `test_step` (compiled as `fit` compiles them, `jit_compile` included), drives Keras callbacks as `fit` does, and
    saves checkpoints of everything that the rest of the run depends on: weights, batch-norm statistics, dropout seeds,
    optimizer, metric accumulators, callback state, history and the exact batch position. When checkpoints are saved
    has no influence on the result.

    The folder `run_dir` receives `checkpoints/`, `log.csv` (one row per epoch), `best.keras` (best validation score)
    and `last.keras`.

    Args:
        model: A compiled `keras.Model`.
        train_batches: Called with `(epoch, start_batch)`, both from 0; returns an iterable of `(images, labels)` that
            starts at that batch of that epoch. For bit-for-bit resumption the batches must be a function of the two
            numbers alone, as those of `kseg.data.pipeline(..., epoch=..., start_batch=...)` are.
        steps_per_epoch: Number of batches in each epoch, at least 1.
        epochs: Number of epochs, at least 1.
        run_dir: Folder of the run; created.
        validation_batches: Called without arguments after each epoch; returns an iterable of `(images, labels)`.
        monitor: Metric that decides which checkpoint is best (the larger the better); its validation value where there
            is validation.
        callbacks: Keras callbacks. Their plain attributes are saved and restored (see `capture_callbacks`).
        checkpoint_seconds: Save a checkpoint in the middle of an epoch when this many seconds have passed since the
            last; `None`: not by time.
        checkpoint_batches: Save one every so many batches; `None`: not by count. One is saved before and after each
            validation in any case.
        progress: Shows progress; default a `TrainingProgress` on standard output.

    Raises:
        ValueError: An argument is out of range, or the model is not compiled.

    Example:
        >>> trainer = Trainer(model, batches, 100, epochs=5, run_dir="runs/a")  # doctest: +SKIP
        >>> history = trainer.fit(resume=True)  # doctest: +SKIP
    """

    def __init__(
        self,
        model: keras.Model,
        train_batches: Callable[[int, int], Iterable],
        steps_per_epoch: int,
        *,
        epochs: int,
        run_dir: str | Path,
        validation_batches: Callable[[], Iterable] | None = None,
        monitor: str = "mean_iou",
        callbacks: Sequence[keras.callbacks.Callback] = (),
        checkpoint_seconds: float | None = 60.0,
        checkpoint_batches: int | None = None,
        progress: TrainingProgress | None = None,
    ):
        for name, value in (("steps_per_epoch", steps_per_epoch), ("epochs", epochs)):
            if value < 1:
                raise ValueError(f"Trainer: {name} must be at least 1, got {value}.")
        if not model.compiled:
            raise ValueError("Trainer: model must be compiled; call model.compile(optimizer=..., loss=...) first.")
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            raise ValueError("Trainer: this loop drives one device; under a distribution strategy use model.fit.")
        self.model = model
        self.run_dir = Path(run_dir)
        self.history: list[dict] = []
        self.best: float | None = None
        self.best_epoch: int | None = None
        self._train_batches = train_batches
        self._validation_batches = validation_batches
        self._steps = steps_per_epoch
        self._epochs = epochs
        self._monitor = monitor
        self._user_callbacks = list(callbacks)
        self._checkpoint_seconds = checkpoint_seconds
        self._checkpoint_batches = checkpoint_batches
        self._progress = TrainingProgress(monitor=monitor) if progress is None else progress
        self._store = CheckpointStore(self.run_dir / "checkpoints")
        self._train_logs: dict[str, float] = {}
        self._epoch_seconds = 0.0

    def fit(self, resume: bool = False) -> list[dict]:
        """Trains to the last epoch.

        Args:
            resume: Continue from the newest whole checkpoint of `run_dir`, where there is one.

        Returns:
            One mapping per epoch: `epoch` (from 1), `loss` and the metrics, their `val_` forms, `learning_rate`,
            `seconds`.

        Raises:
            TrainingInterrupted: SIGINT or SIGTERM came; a checkpoint was saved.
            TrainingError: The loss became NaN or infinite, or an epoch had another number of batches than promised.
            CheckpointError: The checkpoints are damaged or belong to another model; or `best.keras`, which they speak
                of, is lost or damaged.
        """
        self.run_dir.mkdir(parents=True, exist_ok=True)
        checkpoint = self._load_checkpoint() if resume else None
        training = self._train_batches(0, 0)
        prepare_model(self.model, _first_batch(training))
        self._train_step = self._compile_step(self.model.train_step, training)
        if self._validation_batches is not None:
            self._test_step = self._compile_step(self.model.test_step, self._validation_batches())
        self.model.stop_training = False
        self._callbacks = keras.callbacks.CallbackList(
            list(self._user_callbacks),
            add_history=True,
            model=self.model,
            epochs=self._epochs,
            steps=self._steps,
            verbose=0,
        )
        epoch, batch = (checkpoint.meta["epoch"], checkpoint.meta["batch"]) if checkpoint else (0, 0)
        self._last_saved = time.monotonic()
        self._progress.start(self._epochs, self._steps, epoch * self._steps + batch)
        try:
            with Interruption(lambda: self._progress.message("Stopping after this batch ...")) as self._interruption:
                self._callbacks.on_train_begin()
                if checkpoint:
                    if batch:
                        # Callbacks may open things here; what it changes is overwritten by the restored state.
                        self._callbacks.on_epoch_begin(epoch)
                    self._restore(checkpoint)
                    self._progress.message(f"Resuming at epoch {epoch + 1}, batch {batch} of {self._steps}.")
                while epoch < self._epochs and not self.model.stop_training:
                    self._run_epoch(epoch, batch)
                    epoch, batch = epoch + 1, 0
                self._callbacks.on_train_end(self.history[-1] if self.history else None)
        finally:
            self._progress.stop()
        save_model(self.model, self.run_dir / "last.keras")
        return self.history

    def _load_checkpoint(self) -> Checkpoint | None:
        checkpoint = self._store.load_newest(self._progress.message)
        if checkpoint is None:
            self._progress.message(
                f"No checkpoint in {self._store.folder}: nothing to continue from, so training starts over at epoch 1."
            )
            return None
        # The checkpoint holds the newest weights, not those of the best epoch, which may never be beaten again.
        best, epoch = self.run_dir / "best.keras", checkpoint.meta["best_epoch"]
        if epoch is not None and (wrong := damage(best)):
            raise CheckpointError(
                f"{best} {wrong}. It held the best model so far, of epoch {epoch}, which the checkpoints do not. "
                "Restore it from a copy, or start again with --overwrite."
            )
        return checkpoint

    def _run_epoch(self, epoch: int, start: int) -> None:
        self._progress.epoch_start()
        if start == 0:
            self._train_logs, self._epoch_seconds = {}, 0.0
            self.model.reset_metrics()
            self._callbacks.on_epoch_begin(epoch)
        self._epoch_clock = time.monotonic() - self._epoch_seconds
        if start < self._steps and not self.model.stop_training:
            self._train_epoch(epoch, start)
        row = {"epoch": epoch + 1, **self._train_logs, **self._validate(epoch)}
        row["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        # Keras callbacks know nothing of our two extra columns; give them what fit would.
        self._callbacks.on_epoch_end(epoch, {name: row[name] for name in row if name != "epoch"})
        # Keras's history, the last of the callbacks, has the figures that others added, such as `CocoEvaluation`.
        row |= {name: values[-1] for name, values in self.model.history.history.items() if name not in row}
        row["seconds"] = round(time.monotonic() - self._epoch_clock, 3)
        self.history.append(row)
        better = self._is_best(row)
        if better:
            save_model(self.model, self.run_dir / "best.keras")
        write_history(self.history, self.run_dir / "log.csv")
        self._save(epoch + 1, 0)
        self._progress.epoch_end(epoch, row, better)

    def _train_epoch(self, epoch: int, start: int) -> None:
        done = start
        for images, labels in self._train_batches(epoch, start):
            if done >= self._steps:
                raise TrainingError(f"Epoch {epoch + 1} has more than the promised {self._steps} batches.")
            self._callbacks.on_train_batch_begin(done)
            self._train_logs = _floats(self._train_step((images, labels)))
            self._check_loss(epoch, done)
            self._callbacks.on_train_batch_end(done, self._train_logs)
            done += 1
            self._progress.batch_end(epoch, done, self._train_logs)
            self._stop_if_asked(epoch, done)
            if self.model.stop_training:
                return
            if self._is_due(done) and done < self._steps:
                self._save(epoch, done)
        if done != self._steps:
            raise TrainingError(f"Epoch {epoch + 1} has {done} batches instead of the promised {self._steps}.")
        if self._validation_batches is not None:
            self._save(epoch, done)

    def _validate(self, epoch: int) -> dict[str, float]:
        if self._validation_batches is None:
            return {}
        trained = self._epoch_seconds = time.monotonic() - self._epoch_clock
        seeds = capture_seeds(self.model)
        self.model.reset_metrics()
        self._callbacks.on_test_begin()
        logs, count = {}, 0
        for count, (images, labels) in enumerate(self._validation_batches(), start=1):
            self._callbacks.on_test_batch_begin(count - 1)
            logs = _floats(self._test_step((images, labels)))
            self._callbacks.on_test_batch_end(count - 1, logs)
            self._progress.validation_batch(epoch, count)
            if self._interruption.requested:
                # What validation did to the metrics is not state: it runs again from its beginning, with the same
                # random numbers.
                restore_seeds(seeds)
                self._epoch_seconds = trained
                self._callbacks.on_test_end(logs)
                self._stop_if_asked(epoch, self._steps)
        if count == 0:
            raise TrainingError("The validation data has no batch. Give it at least one image.")
        self._callbacks.on_test_end(logs)
        return {f"val_{name}": value for name, value in logs.items()}

    def _compile_step(self, step, batches):
        if self.model.run_eagerly:
            return step
        # One trace for all batches. If TensorFlow traced by the batches that come, a static shape first and a relaxed
        # one for the smaller last batch, then a run resumed elsewhere would run other graphs, which round differently.
        spec = batches.element_spec if isinstance(batches, tf.data.Dataset) else _relaxed_spec(_first_batch(batches))
        return tf.function(step, input_signature=[spec], jit_compile=bool(self.model.jit_compile))

    def _is_best(self, row) -> bool:
        name = f"val_{self._monitor}" if self._validation_batches is not None else self._monitor
        if name not in row:
            known = ", ".join(key for key in row if key not in ("epoch", "seconds", "learning_rate"))
            raise TrainingError(f"monitor: the model has no metric {self._monitor!r}; it reports {known}.")
        if math.isnan(row[name]) or (self.best is not None and row[name] <= self.best):
            return False
        self.best, self.best_epoch = row[name], row["epoch"]
        return True

    def _check_loss(self, epoch, batch):
        loss = self._train_logs.get("loss", 0.0)
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss became {loss} at epoch {epoch + 1}, batch {batch + 1}. "
                "Lower the learning rate, or train without mixed precision; checkpoints before this batch are kept."
            )

    def _is_due(self, done) -> bool:
        if self._checkpoint_batches and done % self._checkpoint_batches == 0:
            return True
        return self._checkpoint_seconds is not None and time.monotonic() - self._last_saved >= self._checkpoint_seconds

    def _stop_if_asked(self, epoch, done):
        if self._interruption.requested:
            raise TrainingInterrupted(self._save(epoch, done))

    def _save(self, epoch: int, batch: int) -> Path:
        if batch and batch < self._steps:
            self._epoch_seconds = time.monotonic() - self._epoch_clock
        states, callback_arrays = capture_callbacks(self._callbacks.callbacks)
        arrays = capture_model(self.model) | {f"callbacks/{name}": array for name, array in callback_arrays.items()}
        meta = {
            "epoch": epoch,
            "batch": batch,
            "steps_per_epoch": self._steps,
            "epochs": self._epochs,
            "train_logs": self._train_logs,
            "epoch_seconds": self._epoch_seconds,
            "history": self.history,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "stop_training": bool(self.model.stop_training),
            "callbacks": states,
        }
        path = self._store.save(epoch, batch, arrays, meta)
        self._last_saved = time.monotonic()
        return path

    def _restore(self, checkpoint: Checkpoint) -> None:
        meta = checkpoint.meta
        if (meta["steps_per_epoch"], meta["epochs"]) != (self._steps, self._epochs):
            raise CheckpointError(
                f"{checkpoint.path} belongs to a run of {meta['epochs']} epochs of {meta['steps_per_epoch']} batches; "
                f"this one has {self._epochs} of {self._steps}. Resume with the same data, batch size and epochs."
            )
        arrays = checkpoint.arrays
        restore_model(self.model, {name: a for name, a in arrays.items() if not name.startswith("callbacks/")})
        prefix = len("callbacks/")
        callback_arrays = {name[prefix:]: a for name, a in arrays.items() if name.startswith("callbacks/")}
        restore_callbacks(self._callbacks.callbacks, meta["callbacks"], callback_arrays)
        self.history = meta["history"]
        self.best, self.best_epoch = meta["best"], meta["best_epoch"]
        self.model.stop_training = meta["stop_training"]
        self._train_logs, self._epoch_seconds = meta["train_logs"], meta["epoch_seconds"]
        # An epoch that ended after this checkpoint was written is run again: its row must not appear twice.
        write_history(self.history, self.run_dir / "log.csv")


def save_model(model: keras.Model, path: str | Path) -> Path:
    """Saves a model beside and renames it, so that the file is always whole.

    Args:
        model: Any Keras model.
        path: File name ending in `.keras`.

    Returns:
        `path`.
    """
    path = Path(path)
    beside = path.with_name(f".{path.stem}.tmp.keras")
    model.save(beside)
    with open(beside, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(beside, path)
    sync_folder(path.parent)
    return path


def _first_batch(batches):
    for batch in batches:
        return batch
    raise TrainingError("The data has no batch. Give it at least one image.")


def _relaxed_spec(batch) -> tuple[tf.TensorSpec, ...]:
    """Specification of batches like this one, of any size; only the channels of the images are fixed."""
    images, labels = tf.nest.map_structure(tf.convert_to_tensor, tuple(batch))
    free = [None] * (images.shape.rank - 1)
    return (
        tf.TensorSpec([*free, images.shape[-1]], images.dtype),
        tf.nest.map_structure(lambda part: tf.TensorSpec([None] * part.shape.rank, part.dtype), labels),
    )


def _floats(logs) -> dict[str, float]:
    """The scalar figures of a step as Python floats (exact: float32 fits); per-class figures are left out."""
    values = {name: np.asarray(keras.ops.convert_to_numpy(value)) for name, value in logs.items()}
    return {name: float(value) for name, value in values.items() if value.ndim == 0}
