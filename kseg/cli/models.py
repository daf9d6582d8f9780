"""Finding the model that RUN_OR_MODEL means."""

from __future__ import annotations

from pathlib import Path

from .errors import CliError

HELP = "run folder (its best model is taken), or a .keras file"


def find_model(text: str) -> Path:
    """Finds the model file.

    Args:
        text: Run folder or `.keras` file.

    Returns:
        Path of the model file.

    Raises:
        CliError: There is none.
    """
    path = Path(text)
    if path.is_dir():
        for name in ("best.keras", "last.keras"):
            if (path / name).is_file():
                return path / name
        if (path / "saved_model.pb").is_file():
            raise CliError(
                f"RUN_OR_MODEL: {path} is an exported SavedModel; expected a run folder or a .keras file. "
                "Load an export with tf.saved_model.load."
            )
        if (path / "config.json").is_file():
            raise CliError(
                f"RUN_OR_MODEL: the run {path} has no model yet; continue it with kseg train --resume {path}."
            )
        raise CliError(f"RUN_OR_MODEL: {path} is no run folder: it holds neither best.keras nor last.keras.")
    if not path.exists():
        raise CliError(f"RUN_OR_MODEL: {path} does not exist; expected a run folder or a .keras file.")
    if path.suffix != ".keras":
        raise CliError(f"RUN_OR_MODEL: expected a run folder or a .keras file, got {path}.")
    return path


def load_model(text: str):
    """Loads the model that `find_model` finds, uncompiled."""
    path = find_model(text)
    import keras

    import kseg  # noqa: F401  (registers the classes)
    from kseg.training.model_file import damage

    if wrong := damage(path):
        raise CliError(f"RUN_OR_MODEL: {path} {wrong}. Restore it from a copy, or train again.")
    try:
        return keras.models.load_model(path, compile=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CliError(
            f"RUN_OR_MODEL: {path} cannot be loaded as a Keras model: {str(error).splitlines()[0]}"
        ) from error
