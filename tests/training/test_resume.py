"""A run that is interrupted again and again ends bit for bit like one that is not."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.data_files import write_pair
from tests.helpers.run_checks import assert_same_runs, run_kseg

# 16 training images in batches of 3: six steps an epoch, the last one with a single image.
SETTINGS = (
    "--val-count 4 --filters 4 --depth 2 --dropout 0.3 --epochs 2 --batch-size 3 --augment full --loss ce+dice --seed 7"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:32, :32]
    for index in range(20):
        row, column, radius = random.uniform(8, 24), random.uniform(8, 24), random.uniform(4, 9)
        mask = ((rows - row) ** 2 + (columns - column) ** 2 < radius**2).astype(np.uint8)
        image = np.clip(90 + 70 * mask + random.normal(0, 20, mask.shape), 0, 255).astype(np.uint8)
        write_pair(root, f"{index:02d}", image, mask)
    return root


@pytest.mark.slow
def test_interrupted_run_equals_uninterrupted_run(data, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    start = ["train", "--data", data, *SETTINGS.split()]
    # Other checkpoint cadences on the two sides: they must not matter.
    done = run_kseg("never", *start, "--out", whole, "--checkpoint-every", "0s")
    assert done.returncode == 0, done.stderr

    # Batches 1..4 of epoch 1; checkpoints after 2 and, on request, after 4.
    stopped = run_kseg("sigint:4", *start, "--out", broken, "--checkpoint-every", 2)
    assert stopped.returncode == 130, stopped.stderr
    assert f"kseg train --resume {broken}" in " ".join(stopped.stdout.split())

    resume = ["train", "--resume", broken, "--checkpoint-every", 1]
    moments = (
        # Batch 5 is saved; the file for batch 6 is half written.
        ("write:2", "checkpoint-000000-00000005.npz"),
        # Batch 6 is done again and its checkpoint is written, but it lacks its name.
        ("rename:1", "checkpoint-000000-00000005.npz"),
        # Epoch 1 is validated for the second image of the second epoch's validation.
        ("validation:3", "checkpoint-000001-00000006.npz"),
    )
    for when, newest in moments:
        killed = run_kseg(when, *resume)
        assert killed.returncode == -signal.SIGKILL, (when, killed.stdout, killed.stderr)
        assert max(path.name for path in (broken / "checkpoints").glob("checkpoint-*.npz")) == newest

    # The newest checkpoint is damaged: the one before it takes over, and says so.
    newest = max((broken / "checkpoints").glob("checkpoint-*.npz"))
    newest.write_bytes(newest.read_bytes()[:-2000])
    finished = run_kseg("never", *resume)
    assert finished.returncode == 0, finished.stderr
    assert "is damaged" in finished.stdout
    assert "Resuming at epoch 2, batch 5 of 6" in finished.stdout

    assert_same_runs(whole, broken)
