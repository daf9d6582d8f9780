"""Building on a toy source tree: what is reported, what is kept, what is left alone. Compiles one tiny file at most."""

from __future__ import annotations

import json
import sys
import sysconfig

import pytest

from kseg_ops import _toolchain, build

CMAKE = """
cmake_minimum_required(VERSION 3.20)
project(toy LANGUAGES CXX)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${KSEG_OUTPUT_DIR}")
add_library(kseg_kernels SHARED toy.cc)
file(WRITE "${CMAKE_BINARY_DIR}/configured.txt" "targets=BASELINE\\ncompiler=toy 1\\n")
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A source tree of one kernel file, on a machine without TensorFlow and pybind11."""
    sources = tmp_path / "cpp"
    sources.mkdir()
    (sources / "CMakeLists.txt").write_text(CMAKE)
    (sources / "ops.cmake").write_text("# a comment\nkseg_add_op(toy)\n")
    (sources / "toy.cc").write_text("int toy() { return 1; }\n")

    def no_tensorflow(isolated=False):
        raise build.BuildError("TensorFlow is not installed")

    def no_pybind11():
        raise build.BuildError("pybind11 is not installed, so there is no NumPy module")

    monkeypatch.setattr(build, "source_dir", lambda: sources)
    monkeypatch.setattr(build, "find_tensorflow", no_tensorflow)
    monkeypatch.setattr(build, "find_pybind11", no_pybind11)
    monkeypatch.delenv("KSEG_WERROR", raising=False)
    return sources


def compile_toy(tmp_path, **options):
    return build.build_native(tmp_path / "out", tmp_path / "work", log=lambda line: None, **options)


def record(tmp_path) -> dict:
    return json.loads((tmp_path / "out" / "build_info.json").read_text())


@pytest.fixture
def needs_compiler():
    try:
        build.find_compiler()
    except build.BuildError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("needs_compiler")
def test_what_is_missing_is_named_and_the_rest_is_built(toy, tmp_path):
    report = compile_toy(tmp_path)
    assert report.built == ["libkseg_kernels.so"]
    assert report.problems == [
        "TensorFlow is not installed, so the TensorFlow ops are not built.",
        "pybind11 is not installed, so there is no NumPy module.",
    ]
    assert not report.complete
    text = build.summary(report)
    assert "kseg: TensorFlow is not installed, so the TensorFlow ops are not built." in text
    assert "`kseg build-ops` (or `python -m kseg_ops.build`) compiles the library later" in text
    info = record(tmp_path)
    assert info["ops"] == ["toy"]
    assert info["targets"] == ["baseline"]
    assert info["sources"] == build.sources_hash(toy)
    assert info["problems"] == report.problems


@pytest.mark.usefixtures("needs_compiler")
def test_a_failed_build_does_not_take_away_a_working_one(toy, tmp_path):
    compile_toy(tmp_path)
    working = (tmp_path / "out" / "libkseg_kernels.so").read_bytes()
    made_from = record(tmp_path)["sources"]
    (toy / "toy.cc").write_text("int toy() { return nothing; }\n")
    report = compile_toy(tmp_path)
    assert any("Compiling the kernels failed" in text and "nothing" in text for text in report.problems)
    assert build.KEPT in report.problems
    assert (tmp_path / "out" / "libkseg_kernels.so").read_bytes() == working
    assert record(tmp_path)["sources"] == made_from != build.sources_hash(toy)
    assert "works without" not in build.summary(report)


@pytest.mark.usefixtures("needs_compiler")
def test_a_failed_build_for_another_tensorflow_removes_what_no_longer_fits(toy, tmp_path, monkeypatch):
    compile_toy(tmp_path)
    (toy / "toy.cc").write_text("int toy() { return nothing; }\n")
    other = _toolchain.TensorFlow("9.9.0", [], [], "", False)
    monkeypatch.setattr(build, "find_tensorflow", lambda isolated=False: other)
    report = compile_toy(tmp_path)
    assert report.built == []
    assert not list((tmp_path / "out").glob("*.so"))


def test_up_to_date_unless_something_changed(tmp_path):
    before = {
        "kseg": "1",
        "python": "a",
        "sources": "b",
        "werror": False,
        "sanitize": "",
        "cuda": {"KSEG_CUDA": "OFF"},
        "tensorflow": "2.21.0",
        "compiler_command": "c",
    }
    out = tmp_path / "complete"
    out.mkdir()
    (out / "_ops.so").write_bytes(b"")

    def up_to_date(**changes):
        stored = before | {"ops": ["toy"], "built": ["_ops.so"], "problems": []} | changes.pop("stored", {})
        (out / "build_info.json").write_text(json.dumps(stored))
        return build._up_to_date(out, before | changes)

    assert up_to_date()
    for change in before:
        assert not up_to_date(**{change: "other"}), change
    assert not up_to_date(stored={"problems": ["one"]})
    assert not up_to_date(stored={"built": ["_ops.so", "libkseg_kernels.so"]})
    (out / "build_info.json").write_text("{")
    assert not build._up_to_date(out, before)


@pytest.mark.parametrize(
    ("cxx", "path", "message"),
    [
        ("/nowhere/g++ -O3", None, r"CXX is set to '/nowhere/g\+\+ -O3', which is not a program"),
        ("", "/nowhere", r"neither c\+\+, g\+\+ nor clang\+\+ is installed \(on Debian: `apt install g\+\+`\)"),
    ],
)
def test_no_compiler(toy, tmp_path, monkeypatch, cxx, path, message):
    monkeypatch.setenv("CXX", cxx)
    if path:
        monkeypatch.setenv("PATH", path)
    with pytest.raises(build.BuildError, match=message):
        build.find_compiler()
    report = compile_toy(tmp_path)
    assert report.built == []
    assert report.problems[0].startswith("no C++ compiler: ")


@pytest.mark.usefixtures("needs_compiler")
def test_no_cmake(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "find_tool", lambda name: None)
    report = compile_toy(tmp_path)
    assert report.problems[0] == "cmake is not installed; `pip install cmake ninja pybind11` brings the build tools."


def test_output_folder_that_cannot_be_written(toy, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(build.BuildError, match=r"cannot write to .*file/out \(Not a directory\)"):
        build.build_native(tmp_path / "file" / "out", log=lambda line: None)


def test_a_tensorflow_that_does_not_import_is_named(tmp_path, monkeypatch):
    (tmp_path / "tensorflow.py").write_text("raise ImportError('libfoo.so.1: cannot open')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(build.BuildError, match=r"does not import \(ImportError: libfoo\.so\.1: cannot open\)"):
        build.find_tensorflow()


def test_during_an_isolated_installation_the_environments_tensorflow_is_found(tmp_path, monkeypatch):
    """pip's isolation hides the environment behind PYTHONPATH; what stands there must not be mistaken for it."""
    (tmp_path / "tensorflow.py").write_text("raise ImportError('the wrong one')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    import tensorflow as tf

    found = build.find_tensorflow(isolated=True)
    assert found.version == tf.__version__
    assert found.includes == [tf.sysconfig.get_include()]
    assert found.library.startswith(tf.sysconfig.get_lib())


def test_python_without_headers_is_named(monkeypatch, tmp_path):
    pytest.importorskip("pybind11")
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(build.BuildError, match=r"no Python\.h in .* \(on Debian: `apt install python3-dev`\)"):
        _toolchain.find_pybind11()
    monkeypatch.setitem(sys.modules, "pybind11", None)
    with pytest.raises(build.BuildError, match="pybind11 is not installed"):
        _toolchain.find_pybind11()
