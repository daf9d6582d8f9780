"""Errors of the command line, and how any error is shown on one line."""

from __future__ import annotations

import re
from pathlib import Path


class CliError(ValueError):
    """Something the user gave cannot be used; the text says what was expected, what came and the fix."""


def no_folder(path: str | Path) -> str:
    """Why `path` is not the folder that was expected, to follow its name."""
    return "which is a file, not a folder" if Path(path).exists() else "which does not exist"


def exit_code(error: BaseException) -> int:
    """2 for what a user can mend (arguments, files, data), 1 for the rest."""
    if isinstance(error, (ValueError, OSError, ImportError)):
        return 2
    # Not imported here: the classes live in modules that import TensorFlow.
    return 2 if type(error).__name__ in _USER_ERRORS else 1


_USER_ERRORS = {"CheckpointError", "TrainingError", "InvalidArgumentError", "BuildError"}


def one_line(error: BaseException) -> str:
    """The message of an error for a reader: no traceback, no framework's wrapping.

    TensorFlow wraps what a data loader raises in `InvalidArgumentError` with the Python traceback inside; the sentence
    that counts follows "DataError: ".
    """
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}."
    text = str(error).strip()
    if "DataError: " in text:
        text = text.split("DataError: ", 1)[1]
        text = text.split("\nTraceback", 1)[0].split("\n\n", 1)[0]
    if type(error).__name__.endswith("Error") and type(error).__module__.startswith("tensorflow"):
        text = re.sub(r"\{\{function_node [^}]*\}\} ?", "", text)
        text = text.split("\n", 1)[0].removeprefix("Exception encountered when calling ")
    if not text:
        return f"{type(error).__name__}."
    if exit_code(error) == 1:
        return f"unexpected {type(error).__name__}: {text.splitlines()[0]} (KSEG_DEBUG=1 shows where)"
    return text
