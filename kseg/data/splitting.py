"""Training and validation parts."""

from __future__ import annotations

from pathlib import Path

from kseg.data import hashing
from kseg.data.errors import DataError


def split_indices(
    count: int, where: Path, what: str, val_fraction: float, val_count: int | None, seed: int
) -> tuple[list[int], list[int]]:
    """Splits 0..count-1 at random, a pure function of (seed, count).

    Args:
        count: number of samples.
        where: their folder, for messages.
        what: they, in the plural.
        val_fraction: part of them to validate on, between 0 and 1; rounded, at least one.
        val_count: their number, instead of `val_fraction`.
        seed: of the split.

    Returns:
        Rising indices for training and for validation.

    Raises:
        DataError: `val_fraction` out of its range, or no sample left for one of the two.
    """
    if val_count is None:
        if not 0 < val_fraction < 1:
            raise DataError(f"val_fraction must lie between 0 and 1, got {val_fraction}")
        val_count = min(max(1, round(count * val_fraction)), count - 1)
    if not 1 <= val_count < count:
        raise DataError(
            f"{where} holds {count} {what}, which cannot be split into {val_count} for validation and "
            f"{count - val_count} for training: both need at least one"
        )
    order = hashing.permutation(count, seed, 0, hashing.SPLIT_STREAM)
    return sorted(order[val_count:].tolist()), sorted(order[:val_count].tolist())
