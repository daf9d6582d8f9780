"""The ways to install kseg: from an sdist, as a wheel that is moved elsewhere, and without a compiler."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kseg_ops import _library, build
from tests.helpers.kseg_ops_copy import RIGHT_COUNTS, report_of, run_python
from tests.helpers.repository import ROOT

pytestmark = pytest.mark.slow

has_compiler = pytest.mark.skipif(
    not _library.native_allowed() or not list(_library.NATIVE_DIR.glob("_ops.so")),
    reason="about the compiled library, which is not in use",
)


def run(*command: object, cwd: Path, **environment: str) -> str:
    """Runs a command without network; returns all of its output, and fails with it."""
    variables = os.environ | {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=variables | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """An unpacked sdist: what a build finds when it has nothing but the published sources."""
    checkout = tmp_path_factory.mktemp("checkout") / "kseg"
    ignored = shutil.ignore_patterns("__pycache__", "_native", "_cpp", "*.egg-info", ".*", "build", "dist", "runs")
    shutil.copytree(ROOT, checkout, ignore=ignored)
    out = tmp_path_factory.mktemp("sdist")
    build_sdist = f"from setuptools import build_meta; build_meta.build_sdist({str(out)!r})"
    run(sys.executable, "-c", build_sdist, cwd=checkout)
    (archive,) = out.iterdir()
    shutil.unpack_archive(archive, out, filter="data")
    return next(path for path in out.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", ".", "--no-build-isolation", "--no-deps", "--wheel-dir", out, cwd=source)
    (file,) = out.iterdir()
    return file


def test_sdist_holds_the_sources(source):
    assert (source / "cpp" / "ops.cmake").read_bytes() == (ROOT / "cpp" / "ops.cmake").read_bytes()
    assert (source / "kseg" / "cli" / "main.py").is_file()
    assert (source / "LICENSE").is_file()
    assert not list(source.rglob("*.so"))


@has_compiler
def test_wheel_is_for_one_platform_and_holds_what_it_should(wheel):
    assert re.fullmatch(r"kseg-[\d.]+-cp3\d+-cp3\d+-(linux|macosx)_\w+\.whl", wheel.name), wheel.name
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in ("_native/_ops.so", "_native/libkseg_kernels.so", "_native/build_info.json", "_cpp/ops.cmake"):
        assert f"kseg_ops/{name}" in names
    assert "kseg_cli/main.py" in names
    # Importable under one name only: two copies of the command's modules would drift apart in one process.
    assert not [name for name in names if name.startswith("kseg/cli/")]
    assert {name.split("/")[0].split("-")[0] for name in names} == {"kseg", "kseg_ops", "kseg_cli"}


@has_compiler
def test_wheel_works_wherever_it_is_unpacked(source, wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    report = report_of(tmp_path / "there")
    assert report["file"].startswith(str(tmp_path / "there"))
    assert (report["native"], report["counts"], report["warnings"]) == (True, RIGHT_COUNTS, [])
    # Compiling later finds the sources inside the package, and sees that there is nothing to do.
    done = run_python("import sys; from kseg_ops import build; sys.exit(build.main([]))", tmp_path / "there")
    assert done.returncode == 0, done.stderr
    assert "up to date" in done.stdout
    assert build.sources_hash(tmp_path / "there" / "kseg_ops" / "_cpp") == build.sources_hash(source / "cpp")


def test_without_a_compiler_the_installation_succeeds_and_says_what_is_missing(source, tmp_path):
    # What a build for the wheel left behind would rightly be kept.
    source = shutil.copytree(source, tmp_path / "source", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    said = run(
        *(sys.executable, "-m", "pip", "install", "--verbose", "--no-build-isolation", "--no-deps", "--target"),
        *(tmp_path / "site", source),
        cwd=tmp_path,
        CXX="/nowhere/g++",
    )
    assert "kseg: no C++ compiler: CXX is set to '/nowhere/g++', which is not a program." in said
    assert "kseg works without, on its reference ops; `kseg build-ops`" in said
    report = report_of(tmp_path / "site")
    assert (report["native"], report["counts"]) == (False, RIGHT_COUNTS)
    (text,) = report["warnings"]
    assert re.search(r"it is not built \(no C\+\+ compiler: .*\); `kseg build-ops` compiles it here", text)
