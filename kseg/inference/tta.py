"""Test-time augmentation: the flips and quarter turns of a square, and their exact inverses."""

from __future__ import annotations

from dataclasses import dataclass

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


def symmetries(tta: bool | str) -> tuple[Symmetry, ...]:
    """The symmetries that `tta` names.

    Args:
        tta: `False` for none, `True` or `"flips"` for the four flips, `"dihedral"` for all eight symmetries of the
            square (flips and quarter turns).

    Raises:
        ValueError: any other value.
    """
    if tta is False or tta is None:
        return (IDENTITY,)
    if tta is True or tta == "flips":
        return FLIPS
    if tta == "dihedral":
        return DIHEDRAL
    raise ValueError(f'tta must be False, True, "flips" or "dihedral"; got {tta!r}.')
