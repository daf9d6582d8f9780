"""Who may include what: the boundaries between kernels, TensorFlow and Python."""

from __future__ import annotations

import fnmatch
from pathlib import Path

from tests.helpers.repository import CPP, cpp_files, includes, where

# Prefix of an #include -> the only files that may have it.
ALLOWED = {
    "tensorflow/": ["*_tf.cc", "tf_adapter.h", "xla_bridge.cc"],
    "xla/": ["xla_adapter.h", "xla_bridge.cc", "xla_cuda_adapter.h", "tf_gpu_adapter.h", "xla_frame.cc"],
    "absl/": ["*_tf.cc", "tf_adapter.h", "xla_bridge.cc"],
    "pybind11/": ["*_py.cc", "numpy_adapter.h", "module.cc"],
    "Python.h": [],
    "adapters/tf_adapter.h": ["*_tf.cc", "tf_gpu_adapter.h"],
    "adapters/tf_gpu_adapter.h": ["*_tf.cc"],
    "adapters/xla_adapter.h": ["*_xla.cc", "xla_cuda_adapter.h"],
    "adapters/xla_cuda_adapter.h": ["*_xla.cc"],
    "base/op_call.h": ["*_call.h", "*_adapter.h"],
    "adapters/numpy_adapter.h": ["*_py.cc", "module.cc"],
    "cuda_runtime": ["device.cuh"],
    "cuda_fp16": ["device.cuh"],
    "cuda_bf16": ["device.cuh"],
    "base/cuda/host/": ["device.cuh", "mma.cuh", "block.*", "fibre.cc", "emulation.*", "cuda_*.h"],
    "cuda_harness/": ["*_harness.cc", "device.cu", "selftest.cu"],
    "immintrin.h": ["kernel.h"],
    "arm_neon.h": ["kernel.h"],
}


def test_only_the_adapters_know_the_frameworks():
    wrong = [
        f"{where(path, line)} includes {name}"
        for path in cpp_files()
        for line, name in includes(path)
        for prefix, files in ALLOWED.items()
        if name.startswith(prefix) and not any(fnmatch.fnmatch(path.name, pattern) for pattern in files)
    ]
    assert not wrong


def test_device_code_is_included_by_device_code_only():
    """What ends in .h is plain C++, so that contracts and adapters compile without nvcc."""
    wrong = [
        f"{where(path, line)} includes {name}"
        for path in cpp_files()
        for line, name in includes(path)
        if name.endswith(".cuh") and path.suffix not in (".cu", ".cuh")
    ]
    assert not wrong


def test_kernels_are_launched_by_launch_only():
    """Raw launches would neither be checked nor run on the CPU."""
    device_code = [path for path in cpp_files() if path.suffix in (".cu", ".cuh") and path.name != "launch.cuh"]
    assert device_code
    wrong = [
        f"{path.relative_to(CPP)} has {word}"
        for path in device_code
        for word in ("<<<", "cudaLaunch", "__shared__")
        if word in path.read_text() and path.name != "device.cuh"
    ]
    assert not wrong


def test_adapters_do_not_hold_kernels():
    wrong = [
        where(path, line)
        for path in cpp_files()
        for line, name in includes(path)
        if name == "base/kernel.h" and path.stem.endswith(("_tf", "_py", "_xla"))
    ]
    assert not wrong


def openers() -> set[str]:
    """kernel.h and the headers of vector code that include it: the instruction set is on below each of them."""
    headers = {str(path.relative_to(CPP)): path for path in cpp_files() if path.suffix == ".h"}
    found = {"base/kernel.h"}
    while True:
        more = {name for name, path in headers.items() if any(other in found for _, other in includes(path))}
        if more <= found:
            return found
        found |= more


def included_late(path: Path, opening: set[str], seen: set[str]) -> list[str]:
    """Headers without vector code whose text is read with the instruction set on, in the order of the preprocessor."""
    late = []
    for _, name in includes(path):
        if name in seen:
            continue  # its include guard leaves nothing of it
        if "base/kernel.h" in seen and name not in opening:
            late.append(name)
        if (CPP / name).is_file():
            late += included_late(CPP / name, opening, seen)
        seen.add(name)
    return late


def test_nothing_is_included_after_the_instruction_set_is_on():
    opening = openers()
    kernels = [path for path in cpp_files() if path.suffix == ".cc" and {name for _, name in includes(path)} & opening]
    assert kernels, "no kernel was found"
    wrong = [f"{path.relative_to(CPP)}: {name}" for path in kernels for name in included_late(path, opening, set())]
    assert not wrong


def test_included_late(tmp_path):
    (tmp_path / "bad.cc").write_text('#include <cmath>\n#include "base/kernel.h"\n#include <cmath>\n#include <map>\n')
    assert included_late(tmp_path / "bad.cc", openers(), set()) == ["map"]


def test_kernels_include_kernel_h_themselves():
    """CMake looks for that line to tell which sources are compiled once per instruction set."""
    opening = openers()
    wrong = [
        str(path.relative_to(CPP))
        for path in cpp_files()
        if path.suffix == ".cc"
        and {name for _, name in includes(path)} & opening
        and '\n#include "base/kernel.h"' not in path.read_text()
    ]
    assert not wrong


def test_nothing_is_included_in_kernel_h_after_its_pragma():
    kernel = CPP / "base" / "kernel.h"
    pragma = next(
        n for n, text in enumerate(kernel.read_text().splitlines(), 1) if text.startswith("#pragma GCC target")
    )
    assert all(line < pragma for line, _ in includes(kernel))


def test_instruction_sets_are_chosen_in_kernel_h_only():
    wrong = [
        str(path.relative_to(CPP))
        for path in cpp_files()
        if path.name != "kernel.h"
        and ("#pragma GCC target" in (text := path.read_text()) or "__attribute__((target(" in text)
    ]
    assert not wrong
    assert "-mavx" not in (CPP / "CMakeLists.txt").read_text()
    assert "-march" not in (CPP / "CMakeLists.txt").read_text()


def test_headers_are_guarded_by_their_path():
    wrong = []
    for path in cpp_files():
        if path.suffix in (".h", ".cuh"):
            guard = "KSEG_" + str(path.relative_to(CPP)).upper().replace("/", "_").replace(".", "_") + "_"
            if f"#ifndef {guard}\n#define {guard}\n" not in path.read_text():
                wrong.append(f"{path.relative_to(CPP)} lacks the guard {guard}")
    assert not wrong
