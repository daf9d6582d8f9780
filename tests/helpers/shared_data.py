"""The annotated images that lie beside a checkout, and not everywhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.helpers.repository import ROOT


def shared_data(*parts: str) -> Path:
    """A path below `../shared/data` (or `KSEG_DATA`); skips the test where there is none."""
    folder = Path(os.environ.get("KSEG_DATA") or ROOT.parent / "shared" / "data")
    path = folder.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} does not exist; KSEG_DATA names the folder of the shared data sets")
    return path
