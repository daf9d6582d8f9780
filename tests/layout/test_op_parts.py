"""Every op of ops.cmake has all its parts, and nothing stands beside that list."""

from __future__ import annotations

import ast
import re

import pytest

import kseg_ops
import kseg_ops.numpy
from kseg_ops import build
from tests.helpers.repository import CPP, ROOT, tree_of

OPS = build.list_ops(CPP)
NUMPY_OPS = build.list_numpy_ops(CPP)


def test_the_list_is_the_list():
    both = OPS + NUMPY_OPS
    assert OPS
    assert NUMPY_OPS
    assert len(set(both)) == len(both)
    assert sorted(path.name for path in (CPP / "ops").iterdir() if path.is_dir()) == sorted(both)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(
    "part",
    [
        "cpp/ops/{op}/{op}.h",
        "cpp/ops/{op}/{op}.cc",
        "cpp/ops/{op}/{op}_call.h",
        "cpp/ops/{op}/{op}_tf.cc",
        "cpp/ops/{op}/{op}_xla.cc",
        "cpp/ops/{op}/{op}_py.cc",
        "kseg_ops/{op}.py",
        "kseg_ops/reference/{op}.py",
        "tests/ops/test_{op}.py",
        "benchmarks/ops/{op}.py",
    ],
)
def test_part_exists(op, part):
    assert (ROOT / part.format(op=op)).is_file()


CUDA_OPS = [op for op in OPS if list((CPP / "ops" / op).glob("*.cu"))]


@pytest.mark.parametrize("op", CUDA_OPS)
@pytest.mark.parametrize(
    "part",
    [
        "cpp/ops/{op}/{op}_cuda.h",
        "cpp/ops/{op}/{op}_harness.cc",
        "benchmarks/cuda/ops/{op}.py",
        "tests/cuda/test_{op}.py",
    ],
)
def test_part_of_a_cuda_op_exists(op, part):
    assert (ROOT / part.format(op=op)).is_file()


@pytest.mark.parametrize("op", CUDA_OPS)
def test_cuda_op_is_registered_and_in_the_harness(op):
    assert "KSEG_TF_GPU_KERNEL(" in (CPP / "ops" / op / f"{op}_tf.cc").read_text()
    assert "KSEG_HARNESS(" in (CPP / "ops" / op / f"{op}_harness.cc").read_text()
    assert "def cases(seed" in (ROOT / f"benchmarks/cuda/ops/{op}.py").read_text()


@pytest.mark.parametrize("op", OPS)
def test_kernel_is_compiled_for_every_instruction_set(op):
    text = (CPP / "ops" / op / f"{op}.cc").read_text()
    assert '#include "base/kernel.h"' in text
    assert "KSEG_RETURN_DISPATCH" in text


@pytest.mark.parametrize("op", OPS)
def test_tensorflow_op_has_name_shape_function_and_kernel(op):
    text = (CPP / "ops" / op / f"{op}_tf.cc").read_text()
    registered = re.findall(r'REGISTER_OP\("([^"]+)"\)', text)
    camel = "".join(word.capitalize() for word in op.split("_"))
    assert f"Kseg>{camel}" in registered
    assert all(name.startswith("Kseg>") for name in registered)
    assert text.count("SetShapeFn") == len(registered)
    assert sorted(re.findall(r'KSEG_TF_CPU_KERNEL\("([^"]+)", TfOp<', text)) == sorted(registered)


@pytest.mark.parametrize("op", OPS)
def test_numpy_binding_and_numpy_function(op):
    assert f"bind_{op}(" in (CPP / "ops" / op / f"{op}_py.cc").read_text()
    functions = {
        node.name for node in tree_of(ROOT / f"kseg_ops/numpy/{op}.py").body if isinstance(node, ast.FunctionDef)
    }
    assert op in functions
    assert callable(getattr(kseg_ops.numpy, op))
    assert op in kseg_ops.numpy.__all__


@pytest.mark.parametrize("op", OPS)
def test_public_function_is_documented(op):
    assert op in kseg_ops.__all__
    function = getattr(kseg_ops, op)
    assert callable(function), "the module of the same name has taken the function's place"
    for section in ("Args:", "Returns:", "Raises:", "Example"):
        assert section in function.__doc__, f"the docstring of kseg_ops.{op} has no {section!r}"


@pytest.mark.parametrize("op", OPS)
def test_reference_is_stock_tensorflow(op):
    """No compiled op and no custom_gradient: what is exported from it runs on any TensorFlow, training included."""
    text = (ROOT / f"kseg_ops/reference/{op}.py").read_text()
    for word in ("native_op", "_library", "custom_gradient", "py_function", "numpy_function"):
        assert not re.search(rf"^(?!\s*#)[^\"]*\b{word}\(", text, flags=re.MULTILINE), word


@pytest.mark.parametrize("op", NUMPY_OPS)
@pytest.mark.parametrize(
    "part",
    [
        "cpp/ops/{op}/{op}.h",
        "cpp/ops/{op}/{op}.cc",
        "cpp/ops/{op}/{op}_py.cc",
        "kseg_ops/{op}.py",
        "kseg_ops/reference/{op}.py",
        "tests/ops/test_{op}.py",
        "benchmarks/ops/{op}.py",
    ],
)
def test_part_of_a_numpy_op_exists(op, part):
    assert (ROOT / part.format(op=op)).is_file()
    assert not (ROOT / f"cpp/ops/{op}/{op}_tf.cc").exists(), f"{op} has a TensorFlow op: list it with kseg_add_op"


@pytest.mark.parametrize("op", NUMPY_OPS)
def test_numpy_op_is_a_public_module(op):
    """Its compiled functions and those of its reference carry the same names; without the one, the other runs."""
    module = getattr(kseg_ops, op)
    assert getattr(kseg_ops.numpy, op) is module
    assert op in kseg_ops.__all__
    assert op in kseg_ops.numpy.__all__
    for name in module.__all__:
        for section in ("Example:", ">>>"):
            assert section in getattr(module, name).__doc__, f"kseg_ops.{op}.{name} has no {section!r}"
    bound = re.findall(rf'module.def\("({op}_\w+)"', (CPP / "ops" / op / f"{op}_py.cc").read_text())
    reference = {
        node.name
        for node in tree_of(ROOT / f"kseg_ops/reference/{op}.py").body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    assert bound
    assert set(bound) == reference
