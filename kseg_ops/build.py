"""Compiles the library: called by `setup.py` during an installation and by `kseg build-ops` afterwards.

Needs only the standard library, cmake, a C++ compiler and (for the NumPy module) pybind11. The TensorFlow ops are built
if a TensorFlow is installed, and for that one.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kseg_ops._library import read_record
from kseg_ops._toolchain import (
    BuildError,
    TensorFlow,
    cuda_settings,
    find_compiler,
    find_pybind11,
    find_tensorflow,
    find_tool,
    first_error,
    locked,
    replace_file,
    run_tool,
)

PACKAGE_DIR = Path(__file__).resolve().parent
KEPT = "The library that was built before stays in place."
LATER = "`kseg build-ops` (or `python -m kseg_ops.build`) compiles the library later"
TOOLS_HINT = "`pip install cmake ninja pybind11` brings the build tools"


@dataclass
class Report:
    """What a build did.

    Attributes:
        built: File names that are now in the output folder.
        problems: One sentence per part that could not be built.
        left_out: Why the installed TensorFlow allows no XLA support, or empty; no problem, since all else works.
        fresh: False if everything was up to date and nothing was compiled.
        seconds: Time taken.
    """

    built: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    left_out: str = ""
    fresh: bool = True
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        return not self.problems


def source_dir() -> Path:
    """The C++ sources: inside an installed package, or at the top of a checkout.

    Raises:
        BuildError: If there are none.
    """
    for folder in (PACKAGE_DIR / "_cpp", PACKAGE_DIR.parent / "cpp"):
        if (folder / "CMakeLists.txt").is_file():
            return folder
    raise BuildError(f"no C++ sources beside {PACKAGE_DIR}; reinstall kseg")


def list_ops(sources: Path | None = None) -> list[str]:
    """The TensorFlow ops in `ops.cmake`."""
    return _listed("kseg_add_op", sources)


def list_numpy_ops(sources: Path | None = None) -> list[str]:
    """Those in `ops.cmake` that only the NumPy module has."""
    return _listed("kseg_add_numpy_op", sources)


def _listed(command: str, sources: Path | None) -> list[str]:
    text = ((sources or source_dir()) / "ops.cmake").read_text(encoding="utf-8")
    return re.findall(rf"^\s*{command}\((\w+)", text, flags=re.MULTILINE)


def sources_hash(sources: Path | None = None) -> str:
    """A digest of everything that is compiled."""
    sources = sources or source_dir()
    digest = hashlib.sha256()
    for path in sorted(path for path in sources.rglob("*") if path.is_file()):
        digest.update(path.relative_to(sources).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def build_native(
    output_dir: Path | str | None = None,
    build_dir: Path | str | None = None,
    *,
    isolated: bool = False,
    force: bool = False,
    verbose: bool = False,
    log: Callable[[str], object] | None = None,
) -> Report:
    """Compiles what can be compiled here into `output_dir` and records the outcome in its `build_info.json`.

    Args:
        output_dir: Where the shared objects go; by default the package's own `_native` folder.
        build_dir: Where CMake works, kept for the next time; by default `build/` of a checkout, or a temporary folder.
        isolated: See `find_tensorflow`.
        force: Compile even if everything is up to date.
        verbose: Show the compiler's command lines.
        log: Takes lines about the progress; by default they go to standard error.

    Returns:
        A report that lists what was built and what could not be, and why.

    Raises:
        BuildError: If the output folder cannot be written, there are no sources, or `KSEG_CUDA_ARCHS` makes no sense.
    """
    started = time.monotonic()
    log = log or (lambda line: sys.stderr.write(line + "\n"))
    output = Path(output_dir) if output_dir else PACKAGE_DIR / "_native"
    sources = source_dir()
    report = Report()
    info: dict[str, Any] = {
        "kseg": _version(),
        "python": sysconfig.get_config_var("EXT_SUFFIX"),
        "sources": sources_hash(sources),
        "werror": _werror(),
        "sanitize": os.environ.get("KSEG_SANITIZE", ""),
        "tensorflow": None,
        "compiler_command": None,
        "ops": [],
        "cuda": {},
        "cuda_ops": [],
        "targets": [],
        "compiler": None,
        "xla": None,
    }
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise BuildError(f"cannot write to {output} ({error.strerror})") from error

    tensorflow = None
    try:
        tensorflow = find_tensorflow(isolated)
        info["tensorflow"] = tensorflow.version
    except BuildError as error:
        report.problems.append(f"{error}, so the TensorFlow ops are not built.")
    if tensorflow:
        info["cuda"] = cuda_settings(tensorflow)
    try:
        compiler = find_compiler()
        info["compiler_command"] = " ".join(compiler)
        if not force and _up_to_date(output, info):
            report.built, report.fresh = sorted(_built_in(output)), False
            return report
        _compile(sources, output, build_dir, compiler, tensorflow, info, report, verbose, log)
    except BuildError as error:
        report.problems.insert(0, f"{error}.")
        info["ops"] = []
    before = read_record(output / "build_info.json")
    if report.problems and _fits(before, info):
        # A failed build does not take away a library that works; `sources` keeps telling what that one was made from.
        report.problems.append(KEPT)
        info = before
    elif not info["ops"]:
        _remove(output, _built_in(output))
    report.built = sorted(_built_in(output))
    report.left_out = info.get("xla") or ""
    report.seconds = time.monotonic() - started
    info |= {"built": report.built, "problems": report.problems}
    replace_file(output / "build_info.json", (json.dumps(info, indent=1) + "\n").encode())
    return report


def _version() -> str:
    text = (PACKAGE_DIR / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"', text, flags=re.MULTILINE).group(1)


def _werror() -> bool:
    return os.environ.get("KSEG_WERROR", "0") not in ("", "0")


def _built_in(output: Path) -> list[str]:
    return [path.name for path in output.glob("*.so")]


def _remove(output: Path, names: list[str]) -> None:
    for name in names:
        (output / name).unlink()


def _fits(before: dict[str, Any], info: dict[str, Any]) -> bool:
    """Whether an earlier build, complete in its time, can serve this installation."""
    return bool(before.get("ops")) and all(before.get(key) == info[key] for key in ("kseg", "python", "tensorflow"))


def _up_to_date(output: Path, info: dict[str, Any]) -> bool:
    before = read_record(output / "build_info.json")
    same = all(before.get(key) == info[key] for key in ("sources", "werror", "sanitize", "cuda", "compiler_command"))
    intact = sorted(before.get("built", [])) == sorted(_built_in(output))
    return same and intact and not before.get("problems") and _fits(before, info)


def _compile(
    sources: Path,
    output: Path,
    build_dir: Path | str | None,
    compiler: list[str],
    tensorflow: TensorFlow | None,
    info: dict[str, Any],
    report: Report,
    verbose: bool,
    log: Callable[[str], object],
) -> None:
    cmake, ninja = find_tool("cmake"), find_tool("ninja")
    if cmake is None:
        raise BuildError(f"cmake is not installed; {TOOLS_HINT}")
    if ninja is None and find_tool("make") is None:
        raise BuildError(f"neither ninja nor make is installed; {TOOLS_HINT}")
    settings = {
        "KSEG_VERSION": info["kseg"],
        "KSEG_SOURCES": info["sources"],
        "KSEG_WERROR": "ON" if info["werror"] else "OFF",
        "KSEG_PYTHON_SUFFIX": info["python"],
        "KSEG_SANITIZE": info["sanitize"],
    }
    try:
        settings["KSEG_PYTHON_INCLUDE"] = ";".join(find_pybind11())
    except BuildError as error:
        report.problems.append(f"{error}.")
    if tensorflow:
        settings |= {
            "KSEG_TF_VERSION": tensorflow.version,
            "KSEG_TF_INCLUDE": ";".join(tensorflow.includes),
            "KSEG_TF_DEFINITIONS": ";".join(tensorflow.definitions),
            "KSEG_TF_LIBRARY": tensorflow.library,
        }
        settings |= info["cuda"]
        try:
            if info["sanitize"]:
                raise BuildError("XLA support is not built with sanitizers")
            includes, library = tensorflow.find_xla()
            settings |= {"KSEG_XLA_INCLUDE": ";".join(includes), "KSEG_XLA_LIBRARY": library}
        except BuildError as error:
            info["xla"] = str(error)
    with _build_folder(build_dir, sources, tensorflow) as work:
        work.mkdir(parents=True, exist_ok=True)
        with locked(work / "lock"):
            _configure(work, sources, cmake, ninja, compiler, settings, log)
            if (work / "cuda_warning.txt").is_file():
                log(f"kseg: {(work / 'cuda_warning.txt').read_text(encoding='utf-8')}")
            made = work / "out"
            shutil.rmtree(made, ignore_errors=True)  # so that only what this run links is found below
            command = [cmake, "--build", str(work), *(["--verbose"] if verbose else [])]
            jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL") or str(os.cpu_count() or 1)
            info["ops"] = list_ops(sources)
            log(f"kseg: compiling {', '.join([*info['ops'], *list_numpy_ops(sources)])}")
            run = run_tool([*command, "--parallel", jobs, "--", "-k", *(["0"] if ninja else [])], log, verbose)
            _collect(work, made, output, settings, run, info, report)


def _configure(
    work: Path,
    sources: Path,
    cmake: str,
    ninja: str | None,
    compiler: list[str],
    settings: dict[str, str],
    log: Callable[[str], object],
) -> None:
    generator = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"] if ninja else ["-G", "Unix Makefiles"]
    program = str(Path(shutil.which(compiler[-1]) or compiler[-1]).absolute())
    launcher = [f"-DCMAKE_CXX_COMPILER_LAUNCHER={';'.join(compiler[:-1])}"] if len(compiler) > 1 else []
    # CMake cannot change these in a folder that it has worked in.
    identity = "\n".join([program, generator[1], str(sources)])
    if (work / "identity.txt").is_file() and (work / "identity.txt").read_text(encoding="utf-8") != identity:
        for path in work.iterdir():
            if path.name != "lock":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in ("cuda_ops.txt", "cuda_warning.txt"):
        (work / name).unlink(missing_ok=True)
    defined = [f"-D{key}={value}" for key, value in settings.items()]
    run = run_tool(
        [cmake, "-S", str(sources), "-B", str(work), *generator, *launcher]
        + [f"-DCMAKE_CXX_COMPILER={program}", "-UKSEG_*", f"-DKSEG_OUTPUT_DIR={work / 'out'}", *defined],
        log,
        False,
    )
    if run.returncode:
        raise BuildError(f"cmake cannot configure the build: {first_error(run.stdout)}")
    (work / "identity.txt").write_text(identity, encoding="utf-8")


def _collect(
    work: Path,
    made: Path,
    output: Path,
    settings: dict[str, str],
    run: subprocess.CompletedProcess,
    info: dict[str, Any],
    report: Report,
) -> None:
    """Moves what was linked into the output folder, each file in one step, and notes what is missing."""
    expected = {"libkseg_kernels.so": "the kernels"}
    if "KSEG_PYTHON_INCLUDE" in settings:
        expected[f"_core{settings['KSEG_PYTHON_SUFFIX']}"] = "the NumPy module"
    if "KSEG_TF_INCLUDE" in settings:
        expected["_ops.so"] = "the TensorFlow ops"
    if "KSEG_XLA_INCLUDE" in settings:
        expected["_xla.so"] = "the XLA bridge"
    if (work / "cuda_ops.txt").is_file():
        expected["libkseg_kernels_cuda.so"] = "the CUDA kernels"
        info["cuda_ops"] = (work / "cuda_ops.txt").read_text(encoding="utf-8").split(";")
    missing = [name for name in expected if not (made / name).is_file()]
    for name in missing:
        report.problems.append(f"Compiling {expected[name]} failed: {first_error(run.stdout)}.")
    if missing and _fits(read_record(output / "build_info.json"), info):
        return
    _remove(output, [name for name in _built_in(output) if name not in expected or name in missing])
    for name in expected:
        if name not in missing:
            replace_file(output / name, (made / name).read_bytes(), mode=0o755)
    for line in (work / "configured.txt").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("=")
        if key == "targets":
            info[key] = value.lower().split(";")
        elif key == "compiler":
            info[key] = value


@contextlib.contextmanager
def _build_folder(build_dir: Path | str | None, sources: Path, tensorflow: TensorFlow | None) -> Iterator[Path]:
    name = f"native-{sys.implementation.cache_tag}-" + (tensorflow.label if tensorflow else "numpy")
    if build_dir is not None:
        yield Path(build_dir).absolute() / name
    elif sources.parent != PACKAGE_DIR:
        yield sources.parent / "build" / name
    else:
        with tempfile.TemporaryDirectory(prefix="kseg-build-") as folder:
            yield Path(folder)


def summary(report: Report) -> str:
    """A few lines for a person."""
    if not report.fresh:
        return "kseg: the compiled library is up to date."
    lines = []
    if report.built and KEPT not in report.problems:
        lines.append(f"kseg: built {', '.join(report.built)} in {report.seconds:.0f} s.")
    if report.left_out:
        lines.append(f"kseg: left out: {report.left_out}.")
    lines += [f"kseg: {problem}" for problem in report.problems]
    if report.problems and KEPT not in report.problems:
        lines.append(f"kseg works without, on its reference ops; {LATER}.")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command line of `python -m kseg_ops.build`; returns 0 only if everything was built."""
    parser = argparse.ArgumentParser(
        prog="kseg build-ops", description="Compile kseg's ops for the installed TensorFlow."
    )
    parser.add_argument("--force", action="store_true", help="compile even if everything is up to date")
    parser.add_argument("--verbose", action="store_true", help="show the compiler's command lines")
    options = parser.parse_args(arguments)
    try:
        report = build_native(force=options.force, verbose=options.verbose)
    except BuildError as error:
        sys.stderr.write(f"kseg: {error}.\n")
        return 1
    (sys.stdout if report.complete else sys.stderr).write(summary(report) + "\n")
    return 0 if report.complete else 1


if __name__ == "__main__":
    sys.exit(main())
