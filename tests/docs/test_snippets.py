"""Every Python block of the README and the docs runs, and every `kseg` command line in them is one that kseg takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document: Path, *languages: str) -> list[str]:
    return [body for language, body in FENCE.findall(document.read_text()) if language in languages]


def command_lines() -> list[str]:
    lines = [
        line.strip()
        for document in DOCUMENTS
        for body in blocks(document, "console", "bash", "sh")
        for line in body.replace("\\\n", " ").splitlines()
    ]
    return [line.removeprefix("$ ") for line in lines if line.removeprefix("$ ").startswith("kseg ")]


def test_readme_has_what_a_newcomer_needs():
    text = (ROOT / "README.md").read_text()
    assert blocks(ROOT / "README.md", "python")
    assert "make demo" in text
    assert "make test" in text
    assert command_lines()


@pytest.mark.parametrize(
    "document", [path for path in DOCUMENTS if blocks(path, "python")], ids=lambda path: str(path.relative_to(ROOT))
)
def test_python_blocks_run(document, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace: dict = {"__name__": "snippet"}
    for number, body in enumerate(blocks(document, "python"), start=1):
        exec(compile(body, f"{document.name}, Python block {number}", "exec"), namespace)


@pytest.mark.parametrize("line", command_lines())
def test_command_lines_parse(line):
    from kseg_cli.main import build_parser

    build_parser().parse_args(shlex.split(line, comments=True)[1:])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(document):
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text())
    for target in targets:
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name} links to {target}, which is missing"
