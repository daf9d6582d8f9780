"""Whether a `.keras` file is whole."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path


def damage(path: str | Path) -> str | None:
    """Looks for damage of a model file, by the checksums of the archive that it is; reads it whole.

    Args:
        path: A `.keras` file.

    Returns:
        `None` if it is whole, else what is wrong, to follow the file's name: "does not exist" or "is damaged (...)".
    """
    path = Path(path)
    if not path.is_file():
        return "does not exist"
    if not zipfile.is_zipfile(path):
        return "is damaged (not a whole .keras archive)"
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.testzip()
            missing = {"config.json", "model.weights.h5"} - set(archive.namelist())
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, RuntimeError) as error:
        return f"is damaged (not a whole .keras archive: {error})"
    if member is not None:
        return f"is damaged (not a whole .keras archive: {member} does not match its checksum)"
    if missing:
        return f"is no model (an archive without {' and '.join(sorted(missing))})"
    return None
