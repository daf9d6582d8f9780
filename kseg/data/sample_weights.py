"""Weights of pixels or images, for the losses."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kseg.data.errors import DataError, listed
from kseg.data.pairing import files_by_stem
from kseg.data.reading import EXTENSIONS, read_image
from kseg.data.source import Source

_EXTENSIONS = (*EXTENSIONS, ".npy")


class SampleWeights:
    """Weights of the samples of a source, in one form for the pipeline.

    Args:
        weights: a folder, a function of the labels, or one number per sample; see `kseg.data.pipeline`.
        source: the samples.

    Attributes:
        per_pixel: whether there is one weight per pixel, or one per image.

    Raises:
        DataError: a folder without a file for each sample.
        TypeError, ValueError: weights that are none of the three; another number of them than samples; numbers that
            are negative or not finite.
    """

    def __init__(self, weights, source: Source):
        self._source = source
        self.per_pixel = True
        self._read: Callable
        if callable(weights):
            self._function = weights
            self._read = self._of_labels
        elif isinstance(weights, (str, os.PathLike)):
            self._files = _files_of(Path(weights), source)
            self._read = self._of_file
        else:
            self.per_pixel = False
            self._numbers = _numbers(weights, len(source))
            self._read = self._of_sample

    def load(self, index: int, mask: np.ndarray) -> np.ndarray:
        """float32 `(H, W)`, or a scalar where there is one weight per image.

        Args:
            index: of the sample.
            mask: its labels `(H, W)`, as loaded.

        Raises:
            DataError: a shape other than the mask's, or numbers that are negative or not finite; names the sample or
                the file.
        """
        return self._read(index, mask)

    def _of_labels(self, index, mask):
        where = f"the weights of {self._source.names[index]}"
        try:
            array = np.asarray(self._function(mask.copy()), np.float32)
        except (TypeError, ValueError) as error:
            raise DataError(f"{where}: the function weights failed: {error}") from error
        return _checked(np.broadcast_to(array, mask.shape) if array.ndim == 0 else array, mask, where)

    def _of_file(self, index, mask):
        path = self._files[index]
        return _checked(_read_map(path), mask, f"weights {path}")

    def _of_sample(self, index, mask):
        del mask
        return self._numbers[index]


def _read_map(path: Path) -> np.ndarray:
    if path.suffix.lower() != ".npy":
        image = read_image(path)
        if image.shape[-1] != 1:
            raise DataError(
                f"weights {path} has {image.shape[-1]} channels, expected one: save a float TIFF or a .npy array of "
                "one number per pixel"
            )
        return image[..., 0].astype(np.float32)
    try:
        return np.load(path, allow_pickle=False).astype(np.float32)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"weights {path} cannot be read: {error}. Save it with np.save, as numbers") from error


def _checked(array, mask, where):
    if array.shape != mask.shape:
        raise DataError(
            f"{where}: one number per pixel of the mask is expected, {mask.shape[0]}x{mask.shape[1]} (height x width), "
            f"got an array of the shape {array.shape}"
        )
    wrong = ~(np.isfinite(array) & (array >= 0))
    if wrong.any():
        row, column = (int(part[0]) for part in np.nonzero(wrong))
        raise DataError(
            f"{where}: weights must be finite and at least 0, got {array[row, column]} at row {row}, column {column}"
        )
    return np.ascontiguousarray(array)


def _files_of(folder: Path, source: Source) -> list[Path]:
    problems: list[str] = []
    files = files_by_stem("weights", folder, problems, extensions=_EXTENSIONS)
    names = source.names
    missing = [name for name in names if name not in files]
    if missing and not problems:
        problems.append(
            f"weights: {len(missing)} of {len(names)} samples have no file of their name in {folder}: "
            f"{listed(f'{name}.npy (or .tif, .png)' for name in missing)}"
        )
    if problems:
        raise DataError("\n".join(problems))
    return [files[name] for name in names]


def _numbers(weights, count: int) -> np.ndarray:
    expected = "weights must be a folder, a function of the labels, or one number per sample"
    try:
        array = np.asarray(weights, np.float32)
    except (TypeError, ValueError):
        raise TypeError(f"{expected}, got {weights!r}") from None
    if array.shape != (count,):
        raise ValueError(f"{expected}, {count} of them, got an array of the shape {array.shape}")
    if not (np.isfinite(array) & (array >= 0)).all():
        raise ValueError("weights must be finite numbers of at least 0, one per sample")
    return array
