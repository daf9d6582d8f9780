"""What the checkout consists of, for the tests of its own rules."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CPP = ROOT / "cpp"


def python_files(*folders: str) -> list[Path]:
    """All Python files below the given folders of the checkout, build products left out."""
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if "_cpp" not in path.parts and "_native" not in path.parts]


def cpp_files() -> list[Path]:
    return sorted(path for path in CPP.rglob("*") if path.suffix in (".h", ".cc", ".cu", ".cuh"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported_names(path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything a file imports, `from a import b` as "a.b"."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = path.relative_to(ROOT).parent.parts
                base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def includes(path: Path) -> list[tuple[int, str]]:
    """Line and name of every #include of a file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = ((number, re.match(r'\s*#\s*include\s+[<"]([^>"]+)[>"]', line)) for number, line in enumerate(lines, 1))
    return [(number, match.group(1)) for number, match in found if match]


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"
