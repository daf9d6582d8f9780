"""The plugin that runs marked tests in another process: what happens there is what the session reports."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from tests.helpers.repository import ROOT
from tests.helpers.without_onednn import SWITCH

CONFTEST = """
from tests.helpers import without_onednn

def pytest_configure(config):
    without_onednn.install(config)
"""

TESTS = """
import os
import pytest

HERE = os.environ.get("TF_ENABLE_ONEDNN_OPTS")
marked = pytest.mark.without_onednn

def test_in_place():
    assert HERE is None

@marked
@pytest.mark.parametrize("text", ["a b", "c::d"])
def test_there(text, record_property):
    record_property("found", text)
    assert HERE == "0"

@marked
def test_fails():
    assert HERE == "what nobody set"

@marked
def test_skipped():
    pytest.skip("for a reason")

@marked
def test_teardown(request):
    request.addfinalizer(lambda: 1 / 0)

@marked
def test_ends_the_process():
    if HERE == "0":
        os._exit(3)

@marked
def test_after_it():
    pass

def test_in_place_after_all():
    assert HERE is None
"""


def session(folder, **variables):
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_them.py").write_text(TESTS)
    inherited = {name: value for name, value in os.environ.items() if name not in (SWITCH, "PYTEST_ADDOPTS")}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "--rootdir", str(folder), str(folder)],
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    outcomes = re.findall(r"^(PASSED|FAILED|ERROR) \S*test_them.py::(.+?)(?: - .*)?$", run.stdout, re.MULTILINE)
    return {(outcome, test) for outcome, test in outcomes}, run.stdout


def test_what_happens_there_is_reported_here(tmp_path):
    outcomes, output = session(tmp_path)
    assert outcomes == {
        ("PASSED", "test_in_place"),
        ("PASSED", "test_there[a b]"),
        ("PASSED", "test_there[c::d]"),
        ("FAILED", "test_fails"),
        ("PASSED", "test_teardown"),
        ("ERROR", "test_teardown"),
        ("FAILED", "test_ends_the_process"),
        ("FAILED", "test_after_it"),
        ("PASSED", "test_in_place_after_all"),
    }, output
    assert "assert '0' == 'what nobody set'" in output
    assert "for a reason" in output
    assert "the process without oneDNN ended before this test did" in output


def test_whoever_sets_the_variable_has_chosen(tmp_path):
    outcomes, output = session(tmp_path, **{SWITCH: "1"})
    assert ("FAILED", "test_there[a b]") in outcomes, output
    assert ("PASSED", "test_ends_the_process") in outcomes
    assert "assert '1' == '0'" in output
