"""The error that every data problem raises."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class DataError(ValueError):
    """A problem in a user's files or data set; the text names the file, what is wrong and, where known, the fix."""


def listed(items: Iterable[object], limit: int = 5) -> str:
    """Joins `items` with commas and says how many were left out after `limit`."""
    items = [str(item) for item in items]
    text = ", ".join(items[:limit])
    return text if len(items) <= limit else f"{text} and {len(items) - limit} more"


def counted_problems(problems: Sequence[str]) -> str:
    """One text of several problems."""
    counted = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return f"{counted} in the data:\n" + "\n".join(f"- {problem}" for problem in problems)
