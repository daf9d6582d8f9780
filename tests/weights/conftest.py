"""With -v, prints what each bad checkpoint was answered with."""

from __future__ import annotations

import sys


def pytest_terminal_summary(terminalreporter):
    tests = sys.modules.get("tests.weights.test_bad_checkpoints")
    if terminalreporter.verbosity < 1 or tests is None or not tests.ANSWERS:
        return
    terminalreporter.section("bad checkpoints")
    terminalreporter.write_line("| file | answer |\n|---|---|")
    for title, text in tests.ANSWERS:
        terminalreporter.write_line(f"| {title} | {' '.join(text.split())} |")
