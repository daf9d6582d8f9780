"""What importing costs, counted in modules rather than seconds (benchmarks/import_time.py measures the seconds)."""

from __future__ import annotations

import sys

import pytest

from tests.helpers.kseg_ops_copy import run_python
from tests.helpers.repository import ROOT

HEAVY = {"matplotlib", "tifffile", "PIL", "skimage", "scipy", "rich", "torch", "pandas", "sklearn", "imageio"}


def modules_after(code: str) -> set[str]:
    run = run_python(f"{code}\nimport sys\nprint(' '.join(sorted(sys.modules)))", ROOT)
    assert run.returncode == 0, run.stderr[-3000:]
    return set(run.stdout.splitlines()[-1].split())


def tops(modules: set[str]) -> set[str]:
    return {name.split(".")[0] for name in modules}


def test_import_kseg_brings_nothing_heavy_beyond_tensorflow_and_keras():
    before = tops(modules_after("import tensorflow, keras"))
    after = tops(modules_after("import kseg"))
    assert "kseg_ops" in after
    assert not (after - before) & HEAVY


def test_import_kseg_does_not_load_the_compiled_library():
    run = run_python("import kseg, kseg_ops._library as l; print(l._tf_library._tried, l._numpy_library._tried)", ROOT)
    assert run.stdout.split()[-2:] == ["False", "False"], run.stderr[-3000:]


def test_kseg_ops_imports_tensorflow_with_the_first_op_only():
    names = modules_after("import kseg_ops, kseg_ops.numpy, kseg_ops.build, kseg_ops._library")
    assert not tops(names) & {"tensorflow", "keras", "kseg"}


def test_help_answers_without_tensorflow():
    code = """
    import sys
    from kseg_cli.main import main
    try:
        main(["--help"])
    except SystemExit as stop:
        assert not stop.code, stop.code
    print("LOADED", *sorted({name.split(".")[0] for name in sys.modules} & {"tensorflow", "keras", "kseg",
    "matplotlib"}))
    """
    run = run_python(code)
    assert run.returncode == 0, run.stderr[-3000:]
    assert "build-ops" in run.stdout
    assert run.stdout.splitlines()[-1] == "LOADED"


@pytest.mark.skipif(sys.platform != "linux", reason="the name of the console script differs")
def test_console_script_is_installed():
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="kseg")
    assert script.value == "kseg_cli.main:main"


def test_the_name_of_an_op_is_the_function_also_after_its_module_was_imported():
    code = """
    import importlib, kseg_ops
    module = importlib.import_module("kseg_ops.confusion_matrix")
    assert kseg_ops.confusion_matrix is module.confusion_matrix
    from kseg_ops import confusion_matrix
    assert confusion_matrix is module.confusion_matrix
    """
    run = run_python(code, ROOT)
    assert run.returncode == 0, run.stderr[-3000:]
