"""One module per op; each lists how to attack the op and its gradient in `CASES`."""

from __future__ import annotations

import importlib
import pkgutil

from tests.fuzz.draws import Case


def all_cases() -> dict[str, Case]:
    """Every case by name."""
    found: dict[str, Case] = {}
    for module in sorted(entry.name for entry in pkgutil.iter_modules(__path__)):
        for case in importlib.import_module(f"{__name__}.{module}").CASES:
            found[case.name] = case
    return found
