"""The training loop on a model of a few weights; what happens to killed processes is in test_resume.py."""

from __future__ import annotations

import csv
import io
import os
import signal

import keras
import numpy as np
import pytest
from rich.console import Console

from kseg.training import CheckpointError, Trainer, TrainingError, TrainingInterrupted, TrainingProgress

STEPS, BATCH = 4, 2


def make_model(rate=0.05, jit_compile=False):
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Conv2D(3, 3, padding="same", activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.4),
            keras.layers.Conv2D(2, 1),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        jit_compile=jit_compile,
    )
    return model


def batches(epoch, start):
    for step in range(start, STEPS):
        # The last batch is smaller, as that of a folder usually is.
        size = BATCH - (step == STEPS - 1)
        images = np.random.default_rng((epoch, step)).normal(size=(size, 4, 4, 1)).astype(np.float32)
        yield images, (images[..., 0] > 0.3).astype(np.int32)


def validation():
    return batches(99, 0)


def make_trainer(folder, model=None, **options):
    options = {"epochs": 3, "validation_batches": validation, "monitor": "accuracy", **options}
    options.setdefault("progress", TrainingProgress(Console(file=io.StringIO())))
    return Trainer(model or make_model(), batches, STEPS, run_dir=folder, **options)


class StopAt(keras.callbacks.Callback):
    """Raises in a batch of the first process; counts in both."""

    def __init__(self, at=None):
        super().__init__()
        self.at = at
        self.seen = 0

    def get_state(self):
        return {"seen": self.seen}

    def set_state(self, state):
        self.seen = state["seen"]

    def on_train_batch_end(self, batch, logs=None):
        self.seen += 1
        if self.seen == self.at:
            raise RuntimeError("stopped by the test")


def callbacks(at=None):
    # All of them remember something from epoch to epoch.
    return [
        StopAt(at),
        keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=1, min_delta=10.0),
        keras.callbacks.EarlyStopping("val_loss", patience=2, min_delta=10.0, restore_best_weights=True),
    ]


def all_variables(model):
    return [keras.ops.convert_to_numpy(v).copy() for v in [*model.variables, *model.optimizer.variables]]


def assert_equal(left, right):
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        np.testing.assert_array_equal(one, other)


def without_time(history):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


@pytest.mark.parametrize("stop", [1, 2, 5, 8, 9, 12])
def test_resumed_equals_uninterrupted_with_callbacks_that_remember(tmp_path, stop):
    whole = make_trainer(tmp_path / "whole", callbacks=callbacks(), epochs=5)
    expected = whole.fit()
    # ReduceLROnPlateau and EarlyStopping both acted, so that a lost state of theirs would show.
    assert [row["epoch"] for row in expected] == [1, 2, 3]
    assert expected[-1]["learning_rate"] < expected[0]["learning_rate"]

    with pytest.raises(RuntimeError, match="stopped by the test"):
        make_trainer(tmp_path / "broken", callbacks=callbacks(stop), epochs=5, checkpoint_batches=2).fit()
    again = make_trainer(tmp_path / "broken", callbacks=callbacks(), epochs=5)
    got = again.fit(resume=True)
    assert without_time(got) == without_time(expected)
    assert (again.best, again.best_epoch) == (whole.best, whole.best_epoch)
    assert_equal(all_variables(again.model), all_variables(whole.model))


def test_a_finished_run_resumed_changes_nothing(tmp_path):
    first = make_trainer(tmp_path)
    history = first.fit()
    again = make_trainer(tmp_path)
    assert again.fit(resume=True) == history
    assert_equal(all_variables(again.model), all_variables(first.model))


def test_loss_and_metrics_are_those_of_fit(tmp_path):
    trainer = make_trainer(tmp_path, epochs=1, validation_batches=None)
    row = trainer.fit()[0]
    model = make_model()
    logs = model.fit(batches(0, 0), epochs=1, steps_per_epoch=STEPS, shuffle=False, verbose=0).history
    # The same float32 sums, in graphs that may order them differently: a few units in the last place.
    assert row["loss"] == pytest.approx(logs["loss"][0], rel=1e-5)
    assert row["accuracy"] == pytest.approx(logs["accuracy"][0], rel=1e-6)
    for one, other in zip(trainer.model.get_weights(), model.get_weights(), strict=True):
        # Adam divides by the gradient's size, so that rounding of tiny gradients grows: compare with its step of 0.05.
        np.testing.assert_allclose(one, other, atol=0.05 * 1e-2)


def test_jit_compile_is_honoured(tmp_path):
    expected = make_trainer(tmp_path / "plain", epochs=1).fit()[0]
    row = make_trainer(tmp_path / "jit", make_model(jit_compile=True), epochs=1).fit()[0]
    # XLA draws other dropout masks for the training steps; the validation loss only has to be of the same size.
    assert row["val_loss"] == pytest.approx(expected["val_loss"], rel=0.3)


def test_best_is_kept_and_the_log_has_one_row_per_epoch(tmp_path):
    trainer = make_trainer(tmp_path, epochs=3)
    history = trainer.fit()
    scores = [row["val_accuracy"] for row in history]
    assert trainer.best == max(scores)
    assert trainer.best_epoch == 1 + int(np.argmax(scores))
    best = keras.models.load_model(tmp_path / "best.keras")
    best_scores = best.evaluate(
        np.concatenate([x for x, _ in validation()]), np.concatenate([y for _, y in validation()]), verbose=0
    )
    assert best_scores[1] == pytest.approx(max(scores), rel=1e-6)
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [float(row["val_accuracy"]) for row in rows] == scores
    assert (tmp_path / "last.keras").is_file()


def test_sigint_saves_and_resumes(tmp_path):
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(TrainingInterrupted) as caught:
        make_trainer(tmp_path, callbacks=[Interrupt()]).fit()
    assert caught.value.checkpoint.name == "checkpoint-000000-00000002.npz"
    assert signal.getsignal(signal.SIGINT) is before


def test_a_loss_that_is_no_number_stops_with_advice(tmp_path):
    def poisoned(epoch, start):
        for step, (images, labels) in enumerate(batches(epoch, start), start):
            yield images * (np.nan if step == 2 else 1), labels

    # Without the ReLU, which turns NaN into 0.
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 1)])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    trainer = Trainer(model, poisoned, STEPS, epochs=1, run_dir=tmp_path, monitor="accuracy")
    with pytest.raises(TrainingError, match=r"loss became nan at epoch 1, batch 3.*Lower the learning rate"):
        trainer.fit()


@pytest.mark.parametrize(
    ("promised", "text"), [(3, "more than the promised 3"), (5, "has 4 batches instead of the promised 5")]
)
def test_a_wrong_number_of_batches_is_an_error(tmp_path, promised, text):
    with pytest.raises(TrainingError, match=text):
        Trainer(make_model(), batches, promised, epochs=1, run_dir=tmp_path, monitor="accuracy").fit()


def test_an_unknown_monitor_names_those_that_are(tmp_path):
    with pytest.raises(TrainingError, match=r"no metric 'mean_iou'; it reports loss, accuracy|reports accuracy, loss"):
        make_trainer(tmp_path, monitor="mean_iou", epochs=1).fit()


def test_another_model_is_refused(tmp_path):
    make_trainer(tmp_path, epochs=1).fit()
    keras.utils.set_random_seed(3)
    other = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 1)])
    other.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    with pytest.raises(CheckpointError, match=r"arrays and the model needs \d+"):
        make_trainer(tmp_path, other, epochs=1).fit(resume=True)


def test_another_number_of_epochs_is_refused(tmp_path):
    make_trainer(tmp_path, epochs=1).fit()
    with pytest.raises(CheckpointError, match="a run of 1 epochs of 4 batches; this one has 2 of 4"):
        make_trainer(tmp_path, epochs=2).fit(resume=True)


def test_arguments_are_checked(tmp_path):
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        make_trainer(tmp_path, epochs=0)
    with pytest.raises(ValueError, match="model must be compiled"):
        make_trainer(tmp_path, keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 1)]))


def interrupted_after_one_epoch(folder):
    with pytest.raises(RuntimeError, match="stop"):
        make_trainer(folder, callbacks=[StopInSecondEpoch()]).fit()


class StopInSecondEpoch(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise RuntimeError("stop")


@pytest.mark.parametrize("harm", ["lost", "cut", "altered"])
def test_a_resume_looks_for_the_best_model_before_it_trains(tmp_path, harm):
    interrupted_after_one_epoch(tmp_path)
    path = tmp_path / "best.keras"
    content = bytearray(path.read_bytes())
    if harm == "lost":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    text = {"lost": "does not exist", "cut": "is damaged", "altered": "is damaged"}[harm]
    newest = sorted((tmp_path / "checkpoints").iterdir())
    with pytest.raises(CheckpointError, match=rf"best\.keras {text}.* of epoch 1, .* start again with --overwrite"):
        make_trainer(tmp_path).fit(resume=True)
    assert sorted((tmp_path / "checkpoints").iterdir()) == newest, "no batch was trained"


def test_a_resume_without_checkpoints_says_that_it_starts_over(tmp_path):
    output = io.StringIO()
    progress = TrainingProgress(Console(file=output, width=200))
    make_trainer(tmp_path, epochs=1, progress=progress).fit(resume=True)
    text = " ".join(output.getvalue().split())
    assert "No checkpoint in" in text
    assert "training starts over at epoch 1" in text
