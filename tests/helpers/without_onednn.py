"""Runs the tests marked `without_onednn` where TensorFlow has no oneDNN: in one more process, as part of the session.

With oneDNN, TensorFlow's convolutions round more than those that kseg's errors are held against (docs/models.md). It is
switched off before TensorFlow is loaded or not at all, and the other tests are to run with it, as users do.
Where TF_ENABLE_ONEDNN_OPTS is set, whoever set it has chosen: then the tests run in place.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

SWITCH = "TF_ENABLE_ONEDNN_OPTS"
REPORTS = "KSEG_TEST_REPORTS"
MARK = "without_onednn"


class WithoutOneDnn:
    """The plugin of the session: hands the marked tests over, and reports what came back as its own.

    Args:
        config: of the session.
    """

    def __init__(self, config: pytest.Config):
        self.config = config
        self.process = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Reports the test's phases from the other process."""
        if item.get_closest_marker(MARK) is None:
            return None
        if self.process is None:
            marked = [other.nodeid for other in item.session.items if other.get_closest_marker(MARK)]
            self.process = _Process(self.config, marked)
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for data in self.process.reports(item.nodeid):
            if isinstance(data["longrepr"], list):
                data["longrepr"] = tuple(data["longrepr"])  # a skip's file, line and reason
            report = self.config.hook.pytest_report_from_serializable(config=self.config, data=data)
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_sessionfinish(self) -> None:
        """Ends the process, which is still running where the session was cut short."""
        if self.process is not None:
            self.process.close()


class _Process:
    """pytest in a process of its own, on some tests in their order."""

    def __init__(self, config, tests):
        self.folder = tempfile.TemporaryDirectory()
        self.output = (Path(self.folder.name) / "output.txt").open("w+")
        read, write = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *tests],
            cwd=config.rootpath,
            env={**os.environ, SWITCH: "0", REPORTS: str(write)},
            pass_fds=[write],
            stdout=self.output,
            stderr=subprocess.STDOUT,
        )
        os.close(write)
        self.lines = os.fdopen(read)
        self.found = {}

    def reports(self, test):
        """The reports of a test's phases; a failure where the process ended before it."""
        for line in () if self._finished(test) else self.lines:
            data = json.loads(line)
            self.found.setdefault(data["nodeid"], []).append(data)
            if data["nodeid"] == test and data["when"] == "teardown":
                break
        found = self.found.pop(test, [])
        yield from found
        if found and found[-1]["when"] == "teardown":
            return
        self.output.seek(0)
        text = f"the process without oneDNN ended before this test did:\n{self.output.read()[-4000:]}"
        yield {
            "$report_type": "TestReport",
            "nodeid": test,
            "location": (test.partition("::")[0], None, test),
            "keywords": {},
            "outcome": "failed",
            "longrepr": text,
            "when": "call",
            "sections": [],
            "duration": 0.0,
        }

    def _finished(self, test):
        return any(data["when"] == "teardown" for data in self.found.get(test, []))

    def close(self):
        """Ends it."""
        self.process.terminate()
        self.process.wait(timeout=60)
        self.lines.close()
        self.output.close()
        self.folder.cleanup()


class Reporter:
    """The plugin of the other process: writes every report to the pipe it was given.

    Args:
        config: of the session.
        pipe: a file descriptor.
    """

    def __init__(self, config: pytest.Config, pipe: int):
        self.config = config
        self.pipe = os.fdopen(pipe, "w")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Writes one report."""
        data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        self.pipe.write(json.dumps(data) + "\n")
        self.pipe.flush()


def install(config: pytest.Config) -> None:
    """Registers the plugin that this process needs, if any."""
    config.addinivalue_line("markers", f"{MARK}: compares float32 with float32 of another library; see {__name__}")
    if REPORTS in os.environ:
        config.pluginmanager.register(Reporter(config, int(os.environ.pop(REPORTS))))
    elif SWITCH not in os.environ:
        config.pluginmanager.register(WithoutOneDnn(config))
