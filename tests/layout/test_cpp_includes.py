"""Who may include what: the boundaries between kernels, TensorFlow and Python."""

from __future__ import annotations

import fnmatch

from tests.helpers.repository import CPP, cpp_files, includes, where

# Prefix of an #include -> the only files that may have it.
ALLOWED = {
    "tensorflow/": ["*_tf.cc", "tf_adapter.h"],
    "xla/": ["*_xla.cc", "xla_bridge.cc"],
    "absl/": ["*_tf.cc", "tf_adapter.h"],
    "pybind11/": ["*_py.cc", "numpy_adapter.h", "module.cc"],
    "Python.h": [],
    "adapters/tf_adapter.h": ["*_tf.cc"],
    "adapters/numpy_adapter.h": ["*_py.cc", "module.cc"],
    "cuda": ["*.cu", "cuda_*.h", "*_tf.cc", "tf_adapter.h"],
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
    found |= {name for name, path in headers.items() if any(other in found for _, other in includes(path))}
    return found


def test_nothing_is_included_after_the_instruction_set_is_on():
    opening = openers()
    wrong, kernels = [], 0
    for path in cpp_files():
        names = [name for _, name in includes(path)]
        first = next((n for n, name in enumerate(names) if name in opening), None)
        if first is None:
            continue
        kernels += path.suffix == ".cc"
        # Such a header may stand below kernel.h itself, so it brings nothing else along.
        late = names[first:] if path.suffix == ".cc" else names
        wrong += [f"{path.relative_to(CPP)}: {name}" for name in late if name not in opening]
        if path.suffix == ".cc" and "base/kernel.h" not in names:
            wrong.append(f"{path.relative_to(CPP)} must include base/kernel.h itself: CMake looks for that line")
    assert kernels, "no kernel was found"
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
        if path.suffix == ".h":
            guard = "KSEG_" + str(path.relative_to(CPP)).upper().replace("/", "_").replace(".", "_") + "_"
            if f"#ifndef {guard}\n#define {guard}\n" not in path.read_text():
                wrong.append(f"{path.relative_to(CPP)} lacks the guard {guard}")
    assert not wrong
