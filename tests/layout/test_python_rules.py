"""Rules for Python sources that can be read off their syntax trees."""

from __future__ import annotations

import ast
import fnmatch
from functools import cache

from tests.helpers.repository import ROOT, cpp_files, imported_names, python_files, tree_of, where

PRIVATE_MODULES = (
    "tensorflow.python",
    "tensorflow.core",
    "tensorflow.compiler",
    "tensorflow._api",
    "keras.src",
    "keras._tf_keras",
)
# Read and written by kseg: Python's own, and those of namedtuple and enum.
PYTHONS_OWN = {"_fields", "_replace", "_asdict", "_make", "_value_", "_missing_", "_name_", "_exit"}


def library_files():
    return python_files("kseg", "kseg_ops")


def test_kseg_ops_never_imports_kseg():
    wrong = [
        f"{where(path, line)} imports {name}"
        for path in python_files("kseg_ops")
        for line, name in imported_names(path)
        if name.split(".")[0] in ("kseg", "kseg_cli")
    ]
    assert not wrong


def test_command_line_imports_kseg_only_inside_functions():
    """`kseg --help` must not execute kseg/__init__, which imports TensorFlow."""
    wrong = []
    for path in python_files("kseg/cli"):
        for node in tree_of(path).body:
            for inner in ast.walk(node) if isinstance(node, (ast.If, ast.Try)) else [node]:
                if isinstance(inner, ast.Import):
                    names = [alias.name for alias in inner.names]
                elif isinstance(inner, ast.ImportFrom) and not inner.level:
                    names = [inner.module or ""]
                else:
                    continue
                heavy = {"kseg", "tensorflow", "keras", "matplotlib"}
                wrong += [
                    f"{where(path, inner.lineno)} imports {name}" for name in names if name.split(".")[0] in heavy
                ]
    assert not wrong


def test_no_private_modules_of_tensorflow_or_keras():
    wrong = [
        f"{where(path, line)} imports {name}"
        for path in python_files("kseg", "kseg_ops", "benchmarks")
        for line, name in imported_names(path)
        if name.startswith(PRIVATE_MODULES)
        or (name.startswith(("tensorflow.", "keras.")) and any(part.startswith("_") for part in name.split(".")))
    ]
    assert not wrong


@cache
def names_of_our_own() -> set[str]:
    """Every underscore name that kseg itself defines, as a variable, function, class, module or attribute."""
    names = set(PYTHONS_OWN)
    for path in library_files():
        names |= {path.stem, *path.relative_to(ROOT).parent.parts}
        for node in ast.walk(tree_of(path)):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                names.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls", "_thread"):
                    names.add(node.attr)
    return names


def private_attributes(tree: ast.Module):
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name = node.attr
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("getattr", "setattr", "hasattr")
            and len(node.args) > 1
            and isinstance(node.args[1], ast.Constant)
        ):
            name = str(node.args[1].value)
        else:
            continue
        if name.startswith("_") and not (name.startswith("__") and name.endswith("__")):
            yield node.lineno, name


def test_no_private_attributes_of_others():
    """An underscore attribute that kseg does not define is somebody else's."""
    wrong = [
        f"{where(path, line)} uses .{name}"
        for path in library_files()
        for line, name in private_attributes(tree_of(path))
        if name not in names_of_our_own()
    ]
    assert not wrong


def test_the_rule_on_private_attributes_sees_what_it_should():
    bad = ast.parse("def f(model):\n    model._compile_metrics\n    getattr(model, '_jit_compile')\n")
    assert {name for _, name in private_attributes(bad)} - names_of_our_own() == {"_compile_metrics", "_jit_compile"}


def test_no_attributes_that_keras_keeps_for_itself():
    """A name that kseg gives to an attribute of a Keras object must not be one that Keras uses."""
    import keras

    plain = keras.Sequential([keras.layers.Dense(1)])
    plain.compile(loss="mse", metrics=["mae"])
    plain.build((None, 1))
    theirs = {name for name in {*vars(plain), *dir(keras.layers.Layer), *dir(keras.Model)} if not name.startswith("__")}
    theirs = {name for name in theirs if name.startswith("_")}
    wrong = []
    for path in python_files("kseg/layers", "kseg/models"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
                if node.attr in theirs:
                    wrong.append(f"{where(path, node.lineno)} uses self.{node.attr}")
    assert not wrong


def test_the_library_does_not_print():
    wrong = [
        where(path, node.lineno)
        for path in library_files()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not wrong


def test_no_assert_for_user_errors():
    wrong = [
        where(path, node.lineno)
        for path in library_files()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Assert)
    ]
    assert not wrong


def test_files_stay_below_400_lines():
    files = [*python_files("kseg", "kseg_ops", "tests", "benchmarks"), *cpp_files(), ROOT / "setup.py"]
    long = [f"{path.relative_to(ROOT)}: {n}" for path in files if (n := len(path.read_text().splitlines())) > 400]
    assert not long


def test_every_test_folder_is_collected(pytestconfig):
    """By default pytest walks past folders of certain names, "build" and "dist" among them, and says nothing."""
    skipped = pytestconfig.getini("norecursedirs")
    wrong = [
        str(path.relative_to(ROOT))
        for path in python_files("tests")
        for part in path.relative_to(ROOT).parent.parts
        if any(fnmatch.fnmatch(part, pattern) for pattern in skipped)
    ]
    assert not wrong


def test_every_test_file_is_collected():
    """pytest only looks into test_*.py: a file of tests with another name would never run."""
    wrong = [
        where(path, node.lineno)
        for path in python_files("tests")
        if not path.name.startswith("test_") and "helpers" not in path.parts
        for node in tree_of(path).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert not wrong
