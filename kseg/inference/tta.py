"""Test-time augmentation: the flips and quarter turns of a square with their exact inverses, and scales."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real

import numpy as np


@dataclass(frozen=True)
class Symmetry:
    """One symmetry of the square, applied to arrays `(B, H, W, C)`: transpose first if asked, then flip.

    No pixel is interpolated, so that `undo(apply(x))` is `x` bit for bit.
    """

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def apply(self, batch: np.ndarray) -> np.ndarray:
        """Turns a batch `(B, H, W, C)`; with `transpose` the result is `(B, W, H, C)`."""
        if self.transpose:
            batch = batch.swapaxes(1, 2)
        return self._flip(batch)

    def undo(self, batch: np.ndarray) -> np.ndarray:
        """The inverse of `apply`."""
        batch = self._flip(batch)
        return batch.swapaxes(1, 2) if self.transpose else batch

    def _flip(self, batch):
        if self.flip_rows:
            batch = batch[:, ::-1]
        return batch[:, :, ::-1] if self.flip_columns else batch


IDENTITY = Symmetry()
FLIPS = tuple(Symmetry(False, rows, columns) for rows in (False, True) for columns in (False, True))
DIHEDRAL = FLIPS + tuple(Symmetry(True, s.flip_rows, s.flip_columns) for s in FLIPS)

# Beyond this a mistyped scale would fill the memory.
MOST_SCALE = 16


def symmetries(tta: bool | str, flips: bool | str | None = None) -> tuple[Symmetry, ...]:
    """The symmetries that `tta` or `flips` names.

    Args:
        tta: `False` for none, `True` or `"flips"` for the four flips, `"dihedral"` for all eight symmetries of the
            square (flips and quarter turns).
        flips: `None` or `False` for none, `"horizontal"` adds the image with left and right exchanged, `"vertical"`
            that with top and bottom exchanged, `"both"` or `True` gives the four flips.

    Raises:
        ValueError: any other value, or both.
    """
    if flips not in (None, False, True, "horizontal", "vertical", "both"):
        raise ValueError(f'flips must be None, "horizontal", "vertical" or "both"; got {flips!r}.')
    if tta not in (None, False, True, "flips", "dihedral"):
        raise ValueError(f'tta must be False, True, "flips" or "dihedral"; got {tta!r}.')
    if tta and flips:
        raise ValueError(f"tta={tta!r} contains flips already: pass tta or flips={flips!r}, not both.")
    if tta == "dihedral":
        return DIHEDRAL
    if tta or flips in (True, "both"):
        return FLIPS
    if flips:
        return (IDENTITY, Symmetry(False, flips == "vertical", flips == "horizontal"))
    return (IDENTITY,)


def checked_scales(scales: float | Iterable[float]) -> tuple[float, ...]:
    """The scales as a tuple; one number is one scale.

    Raises:
        ValueError: no scale, one that is no number above 0 (and at most 16), or the same twice.
    """
    values = (scales,) if isinstance(scales, (Real, str)) else scales
    try:
        values = tuple(values)
    except TypeError:
        values = ()
    numbers = all(isinstance(value, Real) and not isinstance(value, bool) for value in values)
    if not values or not numbers or not all(math.isfinite(v) and 0 < v <= MOST_SCALE for v in values):
        raise ValueError(
            f"scales must be numbers above 0 and at most {MOST_SCALE}, such as (0.5, 1, 1.5); got {scales!r}."
        )
    if len(set(values)) < len(values):
        raise ValueError(f"scales must be different: the probabilities of each count once; got {scales!r}.")
    return tuple(float(value) for value in values)
