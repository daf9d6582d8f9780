from __future__ import annotations

import io

import pytest
from rich.console import Console

from kseg.training.progress import TrainingProgress, duration


def run(console, **options):
    progress = TrainingProgress(console, **options)
    progress.start(epochs=2, steps=2)
    for epoch in range(2):
        progress.epoch_start()
        for batch in (1, 2):
            progress.batch_end(epoch, batch, {"loss": 0.5, "mean_iou": 0.25})
        progress.validation_batch(epoch, 1)
        progress.epoch_end(epoch, {"loss": 0.5, "mean_iou": 0.25, "val_loss": 0.75, "val_mean_iou": 0.125}, epoch == 1)
    progress.stop()


def test_plain_lines_without_a_terminal():
    text = io.StringIO()
    run(Console(file=text))
    lines = text.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("epoch 1/2  loss 0.5000  mIoU 0.2500  validation loss 0.7500  mIoU 0.1250")
    assert "left" in lines[0]
    assert lines[1].endswith("best so far")
    assert "\x1b" not in text.getvalue()


def test_long_epochs_get_lines_in_between():
    text = io.StringIO()
    run(Console(file=text), line_seconds=0.0)
    assert "epoch 1/2  batch 1/2  loss 0.5000  mIoU 0.2500" in text.getvalue()
    assert "epoch 1/2  validating, batch 1  " in text.getvalue()


def test_a_bar_on_a_terminal():
    text = io.StringIO()
    run(Console(file=text, force_terminal=True, width=120))
    assert "2/2" in text.getvalue()
    assert "mIoU 0.2500" in text.getvalue()
    assert "\x1b" in text.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (48, "48 s"), (123, "2 min 3 s"), (3900, "1 h 5 min"), (-1, "0 s")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text
