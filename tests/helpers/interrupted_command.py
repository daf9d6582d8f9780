"""Runs the kseg command and dies in the middle of it: the process under test of tests/training/test_resume.py.

python interrupted_command.py WHEN ARGUMENTS...

WHEN: `never`; `sigint:N`, `sigterm:N` or `batch:N` after N training batches of this process; `validation:N` or
`validation-sigterm:N` in the N-th validation batch; `write:N` halfway through writing the N-th checkpoint; `rename:N`
before the N-th one gets its name; `renamed:N` right after. All but those named after another signal are SIGKILL:
nothing can be tidied up.
"""

from __future__ import annotations

import io
import os
import signal
import sys

import numpy as np


def main() -> int:
    when, _, count = sys.argv[1].partition(":")
    ACTIONS[when](int(count or 0))
    from kseg_cli.main import main as kseg

    return kseg(sys.argv[2:])


def on_call(count, action):
    """A function that does `action` when it is called for the `count`-th time."""
    calls = 0

    def called(*_arguments, **_options):
        nonlocal calls
        calls += 1
        if calls == count:
            action()

    return called


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def at_batch(number, count):
    from kseg.callbacks import PredictionLog

    PredictionLog.on_train_batch_end = on_call(count, lambda: os.kill(os.getpid(), number))


def in_validation(number, count):
    from kseg.callbacks import PredictionLog

    PredictionLog.on_test_batch_end = on_call(count, lambda: os.kill(os.getpid(), number))


def while_writing(count):
    savez = np.savez
    counted = on_call(count, lambda: write_half())
    current = {}

    def write_half():
        whole = io.BytesIO()
        savez(whole, **current["arrays"])
        current["file"].write(whole.getvalue()[: len(whole.getvalue()) // 2])
        current["file"].flush()
        kill()

    def patched(file, **arrays):
        current.update(file=file, arrays=arrays)
        counted()
        savez(file, **arrays)

    np.savez = patched


def at_rename(count, before):
    replace = os.replace
    counted = on_call(count, kill)

    def patched(source, target):
        is_checkpoint = os.path.basename(target).startswith("checkpoint-")
        if is_checkpoint and before:
            counted()
        replace(source, target)
        if is_checkpoint and not before:
            counted()

    os.replace = patched


ACTIONS = {
    "never": lambda count: None,
    "sigint": lambda count: at_batch(signal.SIGINT, count),
    "batch": lambda count: at_batch(signal.SIGKILL, count),
    "sigterm": lambda count: at_batch(signal.SIGTERM, count),
    "validation": lambda count: in_validation(signal.SIGKILL, count),
    "validation-sigterm": lambda count: in_validation(signal.SIGTERM, count),
    "write": while_writing,
    "rename": lambda count: at_rename(count, before=True),
    "renamed": lambda count: at_rename(count, before=False),
}

if __name__ == "__main__":
    sys.exit(main())
