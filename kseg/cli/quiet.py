"""Importing TensorFlow without its page of greetings."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile


def import_tensorflow() -> None:
    """Imports TensorFlow, and keeps what it writes to standard error while it does so, unless the import fails.

    `TF_CPP_MIN_LOG_LEVEL` does not reach these lines: they are written before logging is set up. With KSEG_DEBUG=1
    they are shown.
    """
    if "tensorflow" in sys.modules or os.environ.get("KSEG_DEBUG", "") not in ("", "0"):
        return
    with tempfile.TemporaryFile() as kept:
        try:
            # A missing TensorFlow is reported by `import kseg`, which says how to get one.
            with _standard_error_into(kept.fileno()), contextlib.suppress(ModuleNotFoundError):
                import tensorflow  # noqa: F401
        except BaseException:
            kept.seek(0)
            sys.stderr.write(kept.read().decode("utf-8", "replace"))
            raise


@contextlib.contextmanager
def _standard_error_into(target: int):
    sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # standard error is closed
        yield
        return
    os.dup2(target, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
