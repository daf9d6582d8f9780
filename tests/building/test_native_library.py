"""The states of the compiled library: each gives right results, and at most one warning that names the fix."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from kseg_ops import _library
from tests.helpers.kseg_ops_copy import REPORT, RIGHT_COUNTS, copy_package, report_of

needs_native = pytest.mark.skipif(
    not _library.native_allowed() or not (_library.NATIVE_DIR / _library.OPS_NAME).is_file(),
    reason="about the compiled library, which is not in use",
)
pytestmark = needs_native


def assert_falls_back(report: dict, pattern: str) -> None:
    assert report["counts"] == RIGHT_COUNTS
    assert not report["native"]
    assert len(report["warnings"]) == 1, report["warnings"]
    assert re.search(pattern, report["warnings"][0]), report["warnings"][0]
    assert "the reference ops run instead" in report["warnings"][0]


def test_a_moved_copy_is_native(tmp_path):
    (tmp_path / "first").mkdir()
    copy_package(tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "second place")
    report = report_of(tmp_path / "second place")
    assert report == {
        "counts": RIGHT_COUNTS,
        "native": True,
        "warnings": [],
        "file": str(tmp_path / "second place/kseg_ops/__init__.py"),
    }


def test_another_tensorflow_minor_version(tmp_path):
    import tensorflow as tf

    library = copy_package(tmp_path) / _library.OPS_NAME
    built_for = f"KSEG_BUILT_FOR_TENSORFLOW={tf.__version__};".encode()
    content = library.read_bytes()
    assert content.count(built_for) == 1
    other = tf.__version__.replace("2.", "3.", 1)  # as long as the true one, so that the file stays an ELF file
    library.write_bytes(content.replace(built_for, f"KSEG_BUILT_FOR_TENSORFLOW={other};".encode()))
    assert_falls_back(
        report_of(tmp_path),
        rf"built for TensorFlow {re.escape(other)} and this is TensorFlow {re.escape(tf.__version__)}.*kseg build-ops",
    )


@pytest.mark.parametrize("name", [_library.OPS_NAME, _library.KERNELS_NAME])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.999])
def test_truncated(tmp_path, name, keep, monkeypatch):
    path = copy_package(tmp_path) / name
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    assert not _library._is_whole(path)
    monkeypatch.setattr(_library, "NATIVE_DIR", path.parent)
    library = _library._TensorFlowLibrary("the library cannot be used")
    monkeypatch.setattr(_library, "_warned", set())
    monkeypatch.setattr(_library, "_check_only_copy", lambda: None)
    with pytest.warns(RuntimeWarning, match=r"truncated or damaged; `kseg build-ops`"):
        loaded = library.load()
    assert loaded is None


def test_truncated_in_a_process_of_its_own(tmp_path):
    path = copy_package(tmp_path) / _library.OPS_NAME
    path.write_bytes(path.read_bytes()[:-100])
    assert_falls_back(report_of(tmp_path), r"_ops\.so is truncated or damaged; `kseg build-ops`")


def test_missing(tmp_path):
    shutil.rmtree(copy_package(tmp_path))
    assert_falls_back(report_of(tmp_path), r"it is not built; `kseg build-ops` compiles it here")


def test_missing_tells_why_the_build_failed(tmp_path):
    native = copy_package(tmp_path)
    shutil.rmtree(native)
    native.mkdir()
    (native / "build_info.json").write_text(json.dumps({"problems": ["no C++ compiler: neither c++ nor g++."]}))
    assert_falls_back(report_of(tmp_path), r"it is not built \(no C\+\+ compiler: .*\); `kseg build-ops`")


def test_kernels_of_another_build(tmp_path):
    """A library that the dynamic loader refuses: here for a symbol that its partner lacks."""
    native = copy_package(tmp_path)
    shutil.copy(native / _library.OPS_NAME, native / _library.KERNELS_NAME)
    assert_falls_back(report_of(tmp_path), r"_ops\.so does not load \(.*\); `kseg build-ops`")


def test_damaged_build_record_does_no_harm(tmp_path):
    (copy_package(tmp_path) / "build_info.json").write_text("{")
    report = report_of(tmp_path)
    assert (report["native"], report["counts"], report["warnings"]) == (True, RIGHT_COUNTS, [])


SECOND = """
# The first copy registers its ops and kernels in this process ...
import kseg_ops
assert kseg_ops._library.native_op("confusion_matrix") is not None
first = kseg_ops.confusion_matrix
for name in [name for name in sys.modules if name.split(".")[0] == "kseg_ops"]:
    del sys.modules[name]
# ... and then a second one is imported from elsewhere.
sys.path.insert(0, {second!r})
"""


def test_second_copy(tmp_path):
    copy_package(tmp_path / "first")
    copy_package(tmp_path / "second")
    setup = "import sys\n" + SECOND.format(second=str(tmp_path / "second"))
    # Were the second copy registered too, every call would fail from here on, also those of the first.
    check = "assert first([0, 1, 1, 255], [0, 1, 0, 1], 2).numpy().tolist() == counts\n"
    report = report_of(tmp_path / "first", setup + REPORT + check)
    assert report["file"].startswith(str(tmp_path / "second"))
    assert_falls_back(report, rf"already loaded another copy of it, {re.escape(str(tmp_path / 'first'))}")


def test_second_copy_after_a_direct_load(tmp_path):
    """As a native export asks its user to do: `tf.load_op_library` on a copy, and kseg imported afterwards."""
    copy_package(tmp_path / "first")
    native = copy_package(tmp_path / "second")
    setup = f"import tensorflow as tf\ntf.load_op_library({str(native / _library.OPS_NAME)!r})\n"
    assert_falls_back(report_of(tmp_path / "first", setup + REPORT), r"already loaded another copy of it, .*/second/")


def test_the_same_copy_twice_is_fine(tmp_path):
    native = copy_package(tmp_path)
    setup = f"import tensorflow as tf\ntf.load_op_library({str(native / _library.OPS_NAME)!r})\n"
    report = report_of(tmp_path, setup + REPORT)
    assert (report["native"], report["counts"], report["warnings"]) == (True, RIGHT_COUNTS, [])


def test_kseg_native_0(tmp_path):
    shutil.rmtree(copy_package(tmp_path))  # not even looked for
    report = report_of(tmp_path, KSEG_NATIVE="0")
    assert (report["native"], report["counts"], report["warnings"]) == (False, RIGHT_COUNTS, [])


def test_unknown_simd_target_warns_and_stays_native(tmp_path):
    copy_package(tmp_path)
    report = report_of(tmp_path, KSEG_SIMD="avx9000")
    assert (report["native"], report["counts"]) == (True, RIGHT_COUNTS)
    (text,) = report["warnings"]
    assert re.search(r"KSEG_SIMD: unknown SIMD target 'avx9000'.*; using ", text)
