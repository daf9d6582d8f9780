"""The error that every problem with a file of weights raises."""

from __future__ import annotations

from collections.abc import Iterable


class WeightsError(ValueError):
    """A file of weights that cannot be read, or does not fit the model; the text names the file and the fix."""


def listed(items: Iterable[object], limit: int = 10) -> str:
    """Joins `items` with commas and says how many were left out after `limit`."""
    items = [str(item) for item in items]
    text = ", ".join(items[:limit])
    return text if len(items) <= limit else f"{text} and {len(items) - limit} more"
