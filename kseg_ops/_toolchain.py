"""Finds what a build of the compiled library needs: a compiler, cmake, pybind11, and the installed TensorFlow."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PROBE = """
import json, os, sys
os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
import importlib.util
if importlib.util.find_spec("tensorflow") is None:
    sys.exit(3)
import tensorflow as tf
print("KSEG" + json.dumps({
    "version": tf.__version__,
    "compile_flags": tf.sysconfig.get_compile_flags(),
    "lib": tf.sysconfig.get_lib(),
    "cuda": bool(tf.sysconfig.get_build_info().get("is_cuda_build", False)),
    "cuda_version": tf.sysconfig.get_build_info().get("cuda_version", ""),
}))
"""


FIRST_WITH_XLA = (2, 20)  # older wheels lack the headers of XLA's typed FFI


class BuildError(RuntimeError):
    """The library, or the part of it that was asked for, could not be built. The text says what is missing."""


@dataclass
class TensorFlow:
    """What a build needs to know about the installed TensorFlow."""

    version: str
    includes: list[str]
    definitions: list[str]
    library: str
    cuda: bool
    cuda_version: str = ""

    @property
    def label(self) -> str:
        """Apart for `tensorflow` and `tensorflow-cpu` of one version, whose headers lie in different places."""
        return f"tf{self.version}" + ("-cuda" if self.cuda else "")

    def find_xla(self) -> tuple[list[str], str]:
        """What the XLA bridge needs beside: include folders, and the library with XLA in it.

        Raises:
            BuildError: If this TensorFlow has not all of it.
        """
        includes = [Path(folder) for folder in self.includes]
        if tuple(int(part) for part in self.version.split(".")[:2]) < FIRST_WITH_XLA:
            needed = ".".join(str(part) for part in FIRST_WITH_XLA)
            raise BuildError(f"XLA support needs TensorFlow {needed}, this is {self.version}")
        for header in ("xla/ffi/api/ffi.h", "xla/hlo/builder/xla_builder.h"):
            if not any((folder / header).is_file() for folder in includes):
                raise BuildError(f"TensorFlow {self.version} comes without {header}, so there is no XLA support")
        libraries = sorted(Path(self.library).parent.glob("libtensorflow_cc.*"))
        if not libraries:
            raise BuildError(f"TensorFlow {self.version} has no libtensorflow_cc, so there is no XLA support")
        inner = [folder / "external" / name for folder in includes for name in ("highwayhash", "farmhash_archive/src")]
        return [str(folder) for folder in inner if folder.is_dir()], str(libraries[0])


def cuda_settings(tensorflow: TensorFlow) -> dict[str, str]:
    """What CMake is told about CUDA.

    `KSEG_CUDA=0` leaves the CUDA kernels out, whatever there is to compile them with, and `KSEG_CUDA_ARCHS`, such as
    "90" or "80 90", compiles them for these compute capabilities only.

    Raises:
        BuildError: If `KSEG_CUDA_ARCHS` is no list of compute capabilities.
    """
    wanted = os.environ.get("KSEG_CUDA", "1").strip().lower() not in ("0", "false", "off", "no")
    settings = {
        "KSEG_CUDA": "ON" if tensorflow.cuda and wanted else "OFF",
        "KSEG_TF_CUDA_VERSION": tensorflow.cuda_version,
    }
    archs = re.split(r"[\s,;]+", os.environ.get("KSEG_CUDA_ARCHS", "").strip())
    if archs != [""] and settings["KSEG_CUDA"] == "ON":
        if not all(re.fullmatch("[89][0-9]|1[0-9]{2}", arch) for arch in archs):
            raise BuildError(
                f"KSEG_CUDA_ARCHS must be compute capabilities of 8.0 or later such as '80 90', got {' '.join(archs)!r}"
            )
        settings["KSEG_CUDA_ARCHS"] = ";".join(sorted(set(archs), key=int))
    return settings


def find_compiler() -> list[str]:
    """The C++ compiler as a command: `CXX` if it is set, else c++, g++ or clang++.

    Raises:
        BuildError: If there is none.
    """
    wish = os.environ.get("CXX", "").strip()
    if wish:
        command = shlex.split(wish)
        if shutil.which(command[0]) is None:
            raise BuildError(f"no C++ compiler: CXX is set to {wish!r}, which is not a program")
        return command
    for name in ("c++", "g++", "clang++"):
        if shutil.which(name):
            return [name]
    raise BuildError("no C++ compiler: neither c++, g++ nor clang++ is installed (on Debian: `apt install g++`)")


def find_tensorflow(isolated: bool = False) -> TensorFlow:
    """Asks the installed TensorFlow, in a process of its own, how to compile against it.

    Args:
        isolated: True during an installation by pip, which hides the environment's packages behind PYTHONPATH: then the
            environment is asked without that variable first.

    Raises:
        BuildError: If TensorFlow is not installed or does not import.
    """
    # -E ignores PYTHONPATH, -P keeps the current folder out. (-I would also hide packages installed with `pip --user`.)
    failure = "TensorFlow is not installed"
    for flags in (["-E", "-P"], ["-P"]) if isolated else (["-P"],):
        run = subprocess.run([sys.executable, *flags, "-c", _PROBE], capture_output=True, text=True, check=False)
        answer = re.search(r"^KSEG(\{.*\})$", run.stdout, flags=re.MULTILINE)
        if run.returncode == 0 and answer:
            return _tensorflow_from(json.loads(answer.group(1)))
        if run.returncode != 3:
            last = (run.stderr.strip().splitlines() or ["no output"])[-1]
            failure = f"TensorFlow is installed but does not import ({last})"
    raise BuildError(failure)


def _tensorflow_from(answer: dict[str, Any]) -> TensorFlow:
    flags = answer["compile_flags"]
    libraries = sorted(Path(answer["lib"]).glob("libtensorflow_framework.*"))
    if not libraries:
        raise BuildError(f"TensorFlow {answer['version']} has no libtensorflow_framework in {answer['lib']}")
    return TensorFlow(
        version=answer["version"],
        includes=[flag[2:] for flag in flags if flag.startswith("-I")],
        definitions=[flag for flag in flags if flag.startswith("-D")],
        library=str(libraries[0]),
        cuda=answer["cuda"],
        cuda_version=answer["cuda_version"],
    )


def find_tool(name: str) -> str | None:
    """A build tool of this environment, whether or not the environment is activated, else of the machine."""
    beside_python = shutil.which(name, path=str(Path(sys.executable).parent))
    return beside_python or shutil.which(name)


def find_pybind11() -> list[str]:
    """The include folders of Python and pybind11.

    Raises:
        BuildError: If either has none.
    """
    try:
        import pybind11
    except ImportError:
        raise BuildError("pybind11 is not installed, so there is no NumPy module") from None
    python = sysconfig.get_path("include")
    if not (Path(python) / "Python.h").is_file():
        raise BuildError(f"no Python.h in {python} (on Debian: `apt install python3-dev`), so there is no NumPy module")
    return [python, pybind11.get_include()]


def run_tool(command: list[str], log: Callable[[str], object], show: bool) -> subprocess.CompletedProcess:
    """Runs a build tool; what it wrote goes to `log` if it failed, or if `show`."""
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if show or run.returncode:
        log(run.stdout.rstrip())
    return run


def first_error(text: str) -> str:
    """The first error of a build's output, else its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"(?<![\w-])error\b", line, flags=re.IGNORECASE)]
    return (errors or lines[-1:] or ["no output"])[0]


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One build at a time per folder."""
    with path.open("w") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        except ImportError:  # not a Unix
            pass
        yield


def replace_file(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Writes beside and renames, so that whoever has the old file mapped keeps it and nobody sees half of the new."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(content)
    beside.chmod(mode)
    beside.replace(path)
