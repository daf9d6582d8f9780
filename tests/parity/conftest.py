"""The process that runs the published networks, and the table of the pairs that were compared."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import parity, without_onednn
from tests.helpers.repository import ROOT

ROW = "parity with a published network"
NEEDED = ("torch", "torchvision", "segmentation_models_pytorch", "safetensors")


@dataclasses.dataclass(frozen=True)
class Answers:
    """What a published network gave.

    Attributes:
        checkpoint: its tensors.
        images: `(B, H, W, C)`.
        truth: its answer in float64: an array, or arrays by level.
        peer: in float32, in PyTorch's default layout.
        peer_channels_last: likewise, in the layout that TensorFlow has.
        parameters: how many it has.
    """

    checkpoint: Path
    images: np.ndarray
    truth: np.ndarray | dict[str, np.ndarray]
    peer: np.ndarray | dict[str, np.ndarray]
    peer_channels_last: np.ndarray | dict[str, np.ndarray]
    parameters: int


@pytest.fixture(scope="session")
def peer_process():
    """The process, or a skip where the libraries are missing. They are not imported here: see `peer_worker`."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        pytest.skip(f"the published networks need {', '.join(missing)}")
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.parity.peer_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    yield process
    process.communicate(timeout=60)


def _ask(process, folder, kind, *, size=(75, 61), seed=1, channels=3, **options):
    """The `Answers` of a network of a kind for random weights."""
    request = {"kind": kind, "options": options, "size": size, "channels": channels, "seed": seed}
    process.stdin.write(json.dumps({**request, "folder": str(folder)}) + "\n")
    process.stdin.flush()
    response = json.loads(process.stdout.readline() or '{"error": "the process ended"}')
    assert "error" not in response, response["error"]
    with np.load(folder / "answers.npz") as arrays:
        found = {name: arrays[name] for name in arrays.files}
    given = {"images": found.pop("images"), "parameters": response["parameters"]}
    for name, value in found.items():
        form, _, level = name.partition(" ")
        if level == "logits":
            given[form] = value
        else:
            given.setdefault(form, {})[level] = value
    return Answers(folder / "state.safetensors", **given)


@pytest.fixture
def ask(peer_process, tmp_path):
    """A function from the kind of a network and its options to its `Answers` for random weights."""
    return functools.partial(_ask, peer_process, tmp_path)


@pytest.fixture(autouse=True)
def kept_rows(record_property):
    """Goes with the test's report, which may be made in another process, what it added to the table."""
    before = len(parity.ROWS)
    yield
    for row in parity.ROWS[before:]:
        record_property(ROW, dataclasses.asdict(row))


def pytest_collection_modifyitems(items):
    for item in items:
        if "peer_process" in item.fixturenames:
            item.add_marker(without_onednn.MARK)


def pytest_terminal_summary(terminalreporter):
    reports = [report for some in terminalreporter.stats.values() for report in some]
    last = [report for report in reports if getattr(report, "when", None) == "teardown"]
    found = [parity.Row(**values) for report in last for name, values in report.user_properties if name == ROW]
    if found:
        terminalreporter.section("parity with the published networks")
        for line in parity.summary(found):
            terminalreporter.write_line(line)
