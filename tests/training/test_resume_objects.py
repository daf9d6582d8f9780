"""A run that learns objects, interrupted again and again, ends bit for bit like one that is not."""

from __future__ import annotations

import signal

import pytest

from tests.helpers.run_checks import assert_same_runs, run_kseg

# 5 training images in batches of 2: three steps an epoch, the last one with a single image.
SETTINGS = (
    "--task instance --cells --cells-train 5 --cells-val 3 --cells-size 64 --backbone resnet18_quarter "
    "--pyramid-filters 8 --anchor-size 12 --epochs 2 --batch-size 2 --augment full --seed 7"
)


@pytest.mark.slow
def test_interrupted_run_equals_uninterrupted_run(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    start = ["train", *SETTINGS.split()]
    done = run_kseg("never", *start, "--out", whole, "--checkpoint-every", "0s")
    assert done.returncode == 0, done.stderr

    stopped = run_kseg("sigterm:2", *start, "--out", broken)
    assert stopped.returncode == 130, stopped.stderr
    resume = ["train", "--resume", broken, "--checkpoint-every", 1]
    # Asked to stop while it validates, which draws regions at random: those draws must not count.
    stopped = run_kseg("validation-sigterm:1", *resume)
    assert stopped.returncode == 130, stopped.stderr
    # And killed in the second epoch's validation.
    killed = run_kseg("validation:3", *resume)
    assert killed.returncode == -signal.SIGKILL, (killed.stdout, killed.stderr)
    finished = run_kseg("never", *resume)
    assert finished.returncode == 0, finished.stderr
    assert "Resuming at epoch 2, batch 3 of 3" in finished.stdout
    assert_same_runs(whole, broken)
