"""Checkpoints on disk: written beside and renamed, checked by a digest, two kept."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_NAME = re.compile(r"checkpoint-(\d{6})-(\d{8})\.npz")
_TRAILER = b"\nkseg-sha256 "
_TRAILER_SIZE = len(_TRAILER) + 64 + 1
_META = "meta"
FORMAT = 1


class CheckpointError(RuntimeError):
    """No checkpoint could be read, or it does not belong to this model."""


@dataclass
class Checkpoint:
    """What one checkpoint file holds.

    Attributes:
        arrays: Named arrays, any dtype that NumPy or ml_dtypes knows.
        meta: JSON-compatible mapping.
        path: File it was read from.
    """

    arrays: dict[str, np.ndarray]
    meta: dict
    path: Path


class CheckpointStore:
    """A folder of checkpoints of which the newest two are kept.

    A checkpoint is an ordinary `.npz` archive followed by one line with its SHA-256 digest (readers of archives ignore
    what follows the end of one, so `numpy.load` opens the file). It is written to a temporary file in the same folder,
    flushed to the disk and renamed: after a kill or a power cut the folder holds whole checkpoints only. Should the
    newest one be damaged all the same, the one before it is used.

    Args:
        folder: Folder of the checkpoints; created when the first one is saved.
        keep: Number of checkpoints kept, at least 1.

    Example:
        >>> import tempfile
        >>> store = CheckpointStore(tempfile.mkdtemp())
        >>> _ = store.save(0, 5, {"w": np.ones(3)}, {"note": "x"})
        >>> store.load_newest().meta["note"]
        'x'
    """

    def __init__(self, folder: str | Path, keep: int = 2):
        if keep < 1:
            raise ValueError(f"CheckpointStore: keep must be at least 1, got {keep}.")
        self.folder = Path(folder)
        self.keep = keep

    def paths(self) -> list[Path]:
        """Returns the checkpoint files, newest first."""
        if not self.folder.is_dir():
            return []
        # Names carry zero-padded epoch and batch: their order is the order of training.
        return sorted((path for path in self.folder.iterdir() if _NAME.fullmatch(path.name)), reverse=True)

    def save(self, epoch: int, batch: int, arrays: dict[str, np.ndarray], meta: dict) -> Path:
        """Writes one checkpoint and removes those that are no longer kept.

        Args:
            epoch: Epoch number from 0.
            batch: Number of batches of that epoch that are done.
            arrays: Named arrays.
            meta: JSON-compatible mapping; non-finite floats are allowed.

        Returns:
            The file's path.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"checkpoint-{epoch:06d}-{batch:08d}.npz"
        beside = self.folder / f".{path.name}.tmp"
        plain, dtypes = {}, {}
        for name, array in arrays.items():
            plain[f"a/{name}"], dtypes[name] = _to_plain(np.asarray(array))
        text = json.dumps({"format": FORMAT, "dtypes": dtypes, "meta": meta})
        plain[_META] = np.frombuffer(text.encode("utf-8"), np.uint8)
        with open(beside, "w+b") as file:
            np.savez(file, **plain)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0, io.SEEK_END)
            file.write(_TRAILER + digest.encode("ascii") + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        sync_folder(self.folder)
        self._tidy()
        return path

    def load_newest(self, report=None) -> Checkpoint | None:
        """Reads the newest checkpoint that is whole.

        Args:
            report: Called with one sentence for each damaged file that is passed over.

        Returns:
            The checkpoint, or `None` where the folder holds no checkpoint file at all.

        Raises:
            CheckpointError: There are checkpoint files, and every one is damaged.
        """
        damaged = []
        for path in self.paths():
            try:
                return read_checkpoint(path)
            except CheckpointError as error:
                damaged.append(str(error))
                if report is not None:
                    report(f"{error} Falling back to the checkpoint before it.")
        if damaged:
            raise CheckpointError(
                f"No whole checkpoint in {self.folder}: " + " ".join(damaged) + " Start again with --overwrite."
            )
        return None

    def _tidy(self) -> None:
        for path in self.paths()[self.keep :]:
            path.unlink(missing_ok=True)
        for path in self.folder.glob(".checkpoint-*.tmp"):
            path.unlink(missing_ok=True)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Reads one checkpoint file and verifies its digest.

    Args:
        path: File written by `CheckpointStore.save`.

    Returns:
        Its contents.

    Raises:
        CheckpointError: The file is missing, cut short, altered, or of a newer format.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            _verify(file, path)
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                header = json.loads(archive[_META].tobytes().decode("utf-8"))
                if header["format"] != FORMAT:
                    raise CheckpointError(
                        f"Checkpoint {path} has format {header['format']}; this version of kseg reads format {FORMAT}."
                    )
                arrays = {name: _from_plain(archive[f"a/{name}"], dtype) for name, dtype in header["dtypes"].items()}
    except OSError as error:
        raise CheckpointError(f"Checkpoint {path} cannot be read: {error.strerror or error}.") from error
    return Checkpoint(arrays, header["meta"], path)


def sync_folder(folder: str | Path) -> None:
    """Flushes a folder's entries to the disk, so that a rename survives a power cut."""
    # Not every file system (nor Windows) can open a folder for this; the rename itself is atomic all the same.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _verify(file, path: Path) -> None:
    size = file.seek(0, io.SEEK_END)
    if size < _TRAILER_SIZE:
        raise CheckpointError(f"Checkpoint {path} is damaged ({size} bytes).")
    file.seek(size - _TRAILER_SIZE)
    trailer = file.read()
    if not trailer.startswith(_TRAILER):
        raise CheckpointError(f"Checkpoint {path} is damaged (it does not end with its digest).")
    file.seek(0)
    digest, left = hashlib.sha256(), size - _TRAILER_SIZE
    while left:
        piece = file.read(min(left, 1 << 20))
        digest.update(piece)
        left -= len(piece)
    if digest.hexdigest().encode("ascii") != trailer[len(_TRAILER) : -1]:
        raise CheckpointError(f"Checkpoint {path} is damaged (its digest does not match).")


def _to_plain(array: np.ndarray) -> tuple[np.ndarray, str]:
    # Archives cannot name the extension dtypes of ml_dtypes (bfloat16, float8): store their bits as unsigned integers.
    if array.dtype.kind == "V" or array.dtype.name.startswith(("bfloat16", "float8")):
        return array.view(f"u{array.dtype.itemsize}"), array.dtype.name
    return array, array.dtype.name


def _from_plain(array: np.ndarray, dtype: str) -> np.ndarray:
    if array.dtype.name == dtype:
        return array
    if array.dtype.kind in "US":
        return array
    import ml_dtypes

    return array.view(np.dtype(getattr(ml_dtypes, dtype)))
