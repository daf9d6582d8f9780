"""Prints the table of the pairs that were compared."""

from __future__ import annotations

import sys


def pytest_terminal_summary(terminalreporter):
    parity = sys.modules.get("tests.helpers.parity")
    if parity is not None and parity.ROWS:
        terminalreporter.section("parity")
        for line in parity.table(parity.ROWS):
            terminalreporter.write_line(line)
