"""What became of one file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kseg.inference.tiling_difference import TilingDifference


@dataclass(frozen=True)
class FileResult:
    """The outcome of `kseg.inference.predict_files` or `detect_files` for one image.

    Attributes:
        source: the image file.
        classes: the class map that was written, or `None`.
        probabilities: the probabilities that were written, or `None`.
        overlay: the picture that was written, or `None`.
        size: `(height, width)`, or `None` if the image could not be read.
        pixels: pixels per class, or `None`.
        tiling: how far tiled prediction is from untiled on a crop of this image, where they may differ; measured for
            the first such image of a call only.
        error: what went wrong, in one sentence that names the file; `None` if nothing did.
        objects: how many objects were found, by `detect_files`.
    """

    source: Path
    classes: Path | None = None
    probabilities: Path | None = None
    overlay: Path | None = None
    size: tuple[int, int] | None = None
    pixels: tuple[int, ...] | None = None
    tiling: TilingDifference | None = None
    error: str | None = None
    objects: int | None = None
